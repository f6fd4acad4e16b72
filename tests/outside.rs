//! What the project says of itself to the outside is so: README.md and docs/ against the program, the code and the
//! manifest.
use ringback::http::Refusal;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn documents() -> Vec<String> {
    let mut found = vec!["README.md".to_string()];
    for entry in fs::read_dir(root().join("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".md") {
            found.push(format!("docs/{name}"));
        }
    }
    found
}

/// Every link to a file leads to one.
#[test]
fn links_lead_somewhere() {
    for document in documents() {
        let text = read(&document);
        let here = Path::new(&document).parent().unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") {
                continue;
            }
            assert!(root().join(here).join(file).exists(), "{document} links to {file}, which is not there");
        }
    }
}

fn help(command: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_ringback")).args([command, "--help"]).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// What `--help` says of one option, up to the next.
fn option<'h>(help: &'h str, name: &str) -> Option<&'h str> {
    let start = help.match_indices(name).map(|(at, _)| at).find(|&at| {
        // Some have a short form, too: `-v, --verbose`.
        let begins = help[..at].ends_with("      ") || help[..at].ends_with(", ");
        begins && help[at + name.len()..].starts_with([' ', '\n'])
    })?;
    let rest = &help[start..];
    Some(&rest[..rest.find("\n      --").unwrap_or(rest.len())])
}

/// The README's option tables name options that exist, with the defaults that they have.
#[test]
fn the_readmes_options_are_those_of_the_program() {
    let readme = read("README.md");
    let mut command = None;
    let mut seen = 0;
    for line in readme.lines() {
        if let Some(heading) = line.strip_prefix("| `ringback ") {
            command = heading.split('`').next().map(str::to_string);
        } else if !line.starts_with('|') {
            command = None;
        }
        let Some(row) = line.strip_prefix("| `--") else { continue };
        let command = command.as_deref().unwrap_or_else(|| panic!("no command above {line}"));
        let cells: Vec<&str> = row.split(" | ").map(|cell| cell.trim_matches([' ', '|'])).collect();
        let name = format!("--{}", cells[0].split(['`', ' ']).next().unwrap());
        let help = help(command);
        let said = option(&help, &name).unwrap_or_else(|| panic!("ringback {command} has no {name}"));
        let default = cells[1].trim_matches('`');
        match said.split("[default: ").nth(1) {
            Some(rest) => assert_eq!(rest.split(']').next().unwrap(), default, "the default of {name}"),
            None => assert!(default.is_empty() || default == "none", "{name} has no default, not {default}"),
        }
        seen += 1;
    }
    assert!(seen >= 10, "only {seen} options in the README's tables");
}

/// Options that were renamed are still accepted by their former names, which `--help` does not show.
#[test]
fn former_names_of_options_are_accepted() {
    let relay = [
        ("--park-wait", "1s"),
        ("--park-time", "1s"),
        ("--domain-memory", "1s"),
        ("--head-bytes-max", "1K"),
        ("--headers-max", "10"),
        ("--connections-max", "10"),
        ("--connections-per-address", "10"),
        ("--accepts-per-address", "10"),
        ("--accepts-per-second", "10"),
        ("--registrations-per-second", "10"),
        ("--gateways-per-domain", "10"),
    ];
    for (command, names) in [("relay", &relay[..]), ("gateway", &[("--connections-max", "10")])] {
        let help = help(command);
        for (name, value) in names {
            assert!(option(&help, name).is_none(), "{command} --help shows {name}");
            let output =
                Command::new(env!("CARGO_BIN_EXE_ringback")).args([command, name, value, "--help"]).output().unwrap();
            assert!(output.status.success(), "{command} {name}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

/// The table of refusals in docs/protocol.md is the relay's own list.
#[test]
fn the_refusals_are_the_relays() {
    let mut table = "| status | `X-Relay-Error` | what was wrong |\n|---|---|---|\n".to_string();
    for refusal in Refusal::ALL {
        table += &format!("| {} | `{}` | {} |\n", refusal.status(), refusal.reason(), refusal.wrong());
    }
    let document = read("docs/protocol.md");
    assert!(document.contains(&table), "docs/protocol.md must contain this table:\n{table}");
}

/// The names of an enum's variants, read from its source.
fn variants(path: &str, name: &str) -> Vec<String> {
    let source = read(path);
    let body = source.split(&format!("pub enum {name} {{\n")).nth(1).expect("the enum");
    let body = &body[..body.find("\n}").unwrap()];
    let lines = body.lines().map(str::trim).filter(|line| !line.starts_with("//") && !line.is_empty());
    lines.map(|line| line.split(['(', ',']).next().unwrap().to_string()).collect()
}

/// Every role and state of a connection and every phase of an exchange is described.
#[test]
fn the_life_of_a_connection_has_all_states() {
    let document = read("docs/life-of-a-connection.md");
    let of_connections = ["Role", "Client", "Gateway"].map(|name| variants("src/relay/conn/mod.rs", name));
    let states = [of_connections.concat(), variants("src/relay/exchange/record.rs", "Phase")].concat();
    assert!(states.len() > 15, "{states:?}");
    for state in states {
        assert!(document.contains(&format!("`{state}`")), "docs/life-of-a-connection.md does not describe {state}");
    }
}

/// Every test that the threat model names is there.
#[test]
fn the_threats_are_tested() {
    let document = read("docs/threat-model.md");
    let rows = document.lines().filter(|line| line.starts_with("| **"));
    let named =
        rows.flat_map(|row| row.rsplit('|').nth(1).unwrap().split(", ").map(|name| name.trim().trim_matches('`')));
    let sources: String = ["src", "tests"]
        .iter()
        .flat_map(|folder| files_below(folder).into_iter().map(move |file| format!("{folder}/{file}")))
        .filter(|file| file.ends_with(".rs"))
        .map(|file| read(&file))
        .collect();
    let missing: Vec<_> = named.filter(|name| !sources.contains(&format!("fn {name}()"))).collect();
    assert!(missing.is_empty() && document.matches("| **").count() > 10, "{missing:?}");
}

/// Every name in the report of SIGUSR1 is explained.
#[test]
fn the_report_is_explained() {
    let document = read("docs/operating.md");
    let source = read("src/cli/report.rs");
    let names: Vec<&str> =
        source.lines().filter_map(|line| line.trim().strip_prefix("(\"")?.split('"').next()).collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names.into_iter().chain(["ended", "refused-"]) {
        assert!(document.contains(&format!("`{name}")), "docs/operating.md does not explain {name}");
    }
}

/// Each limit has a counter: what the README says that it is counted as is in the report, or is a refusal.
#[test]
fn each_limit_is_counted() {
    let readme = read("README.md");
    let section = readme.split("\n## Limits").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("the limits");
    let (report, refusals) = (read("src/cli/report.rs"), ringback::http::Refusal::ALL);
    let mut limits = 0;
    for row in section.lines().filter(|line| line.starts_with("| `--")) {
        let counters = row.split(" | ").nth(2).unwrap().split(", ").map(|name| name.trim_matches('`'));
        for counter in counters {
            let counted = match counter.strip_prefix("refused-") {
                Some(reason) => refusals.iter().any(|refusal| refusal.reason() == reason),
                None => report.contains(&format!("(\"{counter}\", ")),
            };
            assert!(counted, "nothing counts {counter}: {row}");
        }
        limits += 1;
    }
    assert!(limits > 15, "{limits}");
}

/// Every dependency of the relay's manifest has its line of justification, and no other has.
#[test]
fn every_dependency_is_justified() {
    let manifest = read("Cargo.toml");
    let mut declared = BTreeSet::new();
    let mut inside = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line == "[dependencies]" || line == "[dev-dependencies]";
        } else if let Some((name, _)) = line.split_once(" = ").filter(|_| inside) {
            declared.insert(name.to_string());
        }
    }
    let document = read("docs/architecture.md");
    let section = document.split("## Dependencies").nth(1).expect("the section on dependencies");
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let justified: BTreeSet<String> = rows.map(str::to_string).collect();
    assert_eq!(justified, declared);
}

/// The files below a folder, by their paths in it.
fn files_below(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join(folder)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files_below(&format!("{folder}/{name}")).iter().map(|file| format!("{name}/{file}"))),
            false => found.push(name),
        }
    }
    found
}

/// The architecture names every folder of the source, and every file of the relay.
#[test]
fn the_rooms_are_there() {
    let document = read("docs/architecture.md");
    for entry in fs::read_dir(root().join("src")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            let room = format!("`src/{}/`", entry.file_name().into_string().unwrap());
            assert!(document.contains(&room), "docs/architecture.md does not name {room}");
        }
    }
    for file in files_below("src/relay") {
        assert!(
            file == "mod.rs" || document.contains(&format!("`{file}`")),
            "docs/architecture.md does not name {file}"
        );
    }
}

/// No files of the relay call each other, neither two nor a ring of more: a script reads that from the sources.
#[test]
fn calls_go_one_way() {
    let script = root().join("scripts/lib/rings.py");
    let output = match Command::new("python3").arg(&script).output() {
        Ok(output) => output,
        Err(error) => return eprintln!("skipped: {} needs python3: {error}", script.display()),
    };
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "files that call each other:\n{said}{}", String::from_utf8_lossy(&output.stderr));
}
