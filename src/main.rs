//! `els-register`, the program: see `lib.rs`.

fn main() {
    std::process::exit(els_register::run(std::env::args_os().collect()));
}
