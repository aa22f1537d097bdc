//! `els-backend`: the seat-counting backend of els-register.

fn main() -> std::process::ExitCode {
    els_backend::commands::main(std::env::args_os())
}
