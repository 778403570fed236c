//! Loads every program of an object file and prints what the verifier says of it: `verify FILE`.

fn main() {
    let Some(object) = std::env::args().nth(1) else { return eprintln!("usage: verify FILE") };
    let reports = std::fs::read(&object)
        .map_err(|error| error.to_string())
        .and_then(|bytes| xlat_linux::fastpath::verify(&bytes).map_err(|error| error.to_string()));
    match reports {
        Ok(reports) => {
            for (name, report) in reports {
                match report {
                    Ok(report) => println!("{name}: {report}"),
                    Err(error) => println!("{name}: {error}"),
                }
            }
        }
        Err(error) => eprintln!("{object}: {error}"),
    }
}
