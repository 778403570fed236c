//! Loads every program of an object file and prints what the verifier says of it: `verify FILE`.

use aya::programs::{Program, ProgramError};

fn main() {
    let Some(object) = std::env::args().nth(1) else { return eprintln!("usage: verify FILE") };
    let mut ebpf = match aya::EbpfLoader::new().load_file(&object) {
        Ok(ebpf) => ebpf,
        Err(error) => return eprintln!("{object}: {error}"),
    };
    for (name, program) in ebpf.programs_mut() {
        let result = match program {
            Program::SchedClassifier(program) => program.load(),
            Program::Xdp(program) => program.load(),
            _other => continue,
        };
        match result.and_then(|()| program.info()) {
            Ok(info) => println!(
                "{name}: {} instructions verified, {} bytes translated, {} bytes of machine code",
                info.verified_instruction_count().unwrap_or(0),
                info.size_translated().unwrap_or(0),
                info.size_jitted(),
            ),
            Err(ProgramError::LoadError { io_error, verifier_log }) => {
                println!("{name}: {io_error}\n{verifier_log}");
            }
            Err(error) => println!("{name}: {error}"),
        }
    }
}
