//! What `tests/fuzz/run` must know: `seeds FOLDER` writes the inputs that are made rather than kept, for
//! `cargo fuzz` to begin with; `seeds --dictionary TARGET` names the target's dictionary.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--dictionary", name] => match fuzz::Target::named(name) {
            Some(target) => println!("{}", target.dictionary),
            None => {
                let names: Vec<&str> = fuzz::TARGETS.iter().map(|target| target.name).collect();
                eprintln!("there is no target {name}; there are {}", names.join(", "));
                std::process::exit(2);
            }
        },
        [folder] => write_seeds(Path::new(folder))?,
        _ => {
            eprintln!("give a folder, or --dictionary and a target");
            std::process::exit(2);
        }
    }
    Ok(())
}

fn write_seeds(folder: &Path) -> std::io::Result<()> {
    for target in fuzz::TARGETS {
        let own = folder.join(target.name);
        std::fs::create_dir_all(&own)?;
        for (number, input) in (target.seeds)().into_iter().enumerate() {
            std::fs::write(own.join(format!("seed-{number}")), input)?;
        }
    }
    Ok(())
}
