//! Names with several addresses (RFC 8305), in a network of their own: an address that swallows packets costs a fraction of a
//! second and not the time-out.

use std::process::Command;
use std::time::Duration;

use els_testkit::{Authority, Machine, agent_program, folder, program, run};

/// Promise: addresses-side-by-side
#[test]
fn black_holed_ipv6_costs_less_than_half_a_second() {
    let machine = Machine::new();
    let folder = folder();
    let place = |name: &str, content: &str| {
        std::fs::write(folder.path().join(name), content).unwrap();
        folder.path().join(name).display().to_string()
    };
    let hosts = place("hosts", "2001:db8::1 els.example.com\n2001:db8::2 els.example.com\n192.0.2.1 els.example.com\n");
    let nsswitch = place("nsswitch.conf", "hosts: files\n");
    let made = Authority::new("An authority").certificate_for(&["els.example.com"]);
    let (certificate, key) = (place("cert.pem", &made.certificate), place("key.pem", &made.key));
    // The IPv6 route leads into an interface that drops everything; a server listens on the IPv4 address.
    let script = format!(
        "set -e; mount --bind {hosts} /etc/hosts; mount --bind {nsswitch} /etc/nsswitch.conf\n\
         ip link set lo up; ip addr add 192.0.2.1/32 dev lo\n\
         ip link add hole type veth peer name drain; ip link set hole up; ip link set drain up; ip addr add 2001:db8::9/64 dev hole nodad\n\
         for other in 1 2; do ip neigh add 2001:db8::$other lladdr 02:00:00:00:00:01 dev hole nud permanent; done\n\
         timeout 60 openssl s_server -quiet -accept 192.0.2.1:443 -cert {certificate} -key {key} </dev/null >/dev/null 2>&1 &\n\
         server=$!; trap 'kill $server' EXIT\n\
         for try in $(seq 100); do ss -Hltn | grep -q 192.0.2.1:443 && break; sleep 0.05; done\n\
         date +%s%N; \"$@\" 2>&1 || true; date +%s%N"
    );
    let mut command = Command::new(program("unshare"));
    command.args(["--net", "--mount", "--", "sh", "-c", &script, "sh"]).arg(agent_program());
    command.arg("--root").arg(machine.root());
    command.args(["--key", "TEST-KEY-0001", "--server", "https://els.example.com", "--timeout", "20"]);
    // The IPv4 address was reached: its certificate is what fails.
    let run = run(&mut command).succeeds().says("TLS").says("not signed by a CA");
    let times: Vec<u64> = run.stdout.lines().filter_map(|line| line.parse().ok()).collect();
    let [begun, ended] = times[..] else { panic!("two times: {run}") };
    let took = Duration::from_nanos(ended - begun);
    assert!(took < Duration::from_millis(600), "a quarter of a second, and the time of a run: {took:?}: {run}");
}
