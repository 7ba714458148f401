//! Which script a command line runs: `python -u train.py --lr 1` runs `train.py`.
//!
//! Any arguments in, a name or `None` out; nothing is looked up. Only names decide what an interpreter is.

/// Options of Python that take the next argument when nothing follows in their own.
const PYTHON_WITH_VALUE: &[u8] = b"WXQ";
const PYTHON_LONG_WITH_VALUE: &[&str] = &["--check-hash-based-pycs"];
/// Options of shells that take the next argument.
const SHELL_WITH_VALUE: &[&str] = &["-o", "+o", "-O", "+O", "--rcfile", "--init-file"];
/// Programs that run another program's script; their own options are too many to know.
const LAUNCHERS: &[&str] =
    &["torchrun", "accelerate", "deepspeed", "colossalai", "composer", "horovodrun", "ipython"];
const LAUNCHER_MODULES: &[&str] =
    &["torch.distributed.run", "torch.distributed.launch", "accelerate.commands.launch"];

/// The script that the program `program` runs with these arguments (the first is its own name).
///
/// A script is named as it was given; `-m pkg.mod` gives the module. `None` for code given as an argument or on the
/// standard input, and for a program that is no interpreter.
pub(super) fn of(program: &str, arguments: &[String]) -> Option<String> {
    let (own, rest) = arguments.split_first()?;
    let names = [base(program), base(own)];
    let is_any = |known: fn(&str) -> bool| names.iter().any(|name| known(name));
    if names.iter().any(|name| LAUNCHERS.contains(name)) {
        return launched(rest);
    }
    if is_any(is_python) {
        let (script, after) = python(rest)?;
        let is_launcher = LAUNCHERS.contains(&base(&script)) || LAUNCHER_MODULES.contains(&script.as_str());
        return if is_launcher { launched(after).or(Some(script)) } else { Some(script) };
    }
    if is_any(is_shell) { shell(rest) } else { None }
}

fn base(path: &str) -> &str {
    // A login shell's name begins with a dash.
    path.rsplit('/').next().unwrap_or(path).trim_start_matches('-')
}

/// `python`, `python3`, `python3.12`, `pypy3`.
fn is_python(name: &str) -> bool {
    let rest = name.strip_prefix("python").or_else(|| name.strip_prefix("pypy"));
    rest.is_some_and(|rest| rest.chars().all(|char| char.is_ascii_digit() || char == '.'))
}

fn is_shell(name: &str) -> bool {
    ["sh", "bash", "dash", "zsh", "ksh", "julia", "Rscript"].contains(&name)
}

/// The script or module, and the arguments after it.
fn python(arguments: &[String]) -> Option<(String, &[String])> {
    let mut rest = arguments;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        let Some(letters) = first.strip_prefix('-') else { return Some((first.clone(), after)) };
        if letters.is_empty() {
            return None;
        }
        if letters.starts_with('-') {
            if PYTHON_LONG_WITH_VALUE.contains(&first.as_str()) {
                rest = after.get(1..).unwrap_or_default();
            }
            continue;
        }
        for (at, letter) in letters.bytes().enumerate() {
            let own = letters.get(at + 1..).unwrap_or_default();
            match letter {
                b'c' => return None,
                b'm' if own.is_empty() => {
                    return after.split_first().map(|(name, after)| (name.clone(), after));
                }
                b'm' => return Some((own.to_owned(), after)),
                letter if PYTHON_WITH_VALUE.contains(&letter) => {
                    if own.is_empty() {
                        rest = after.get(1..).unwrap_or_default();
                    }
                    break;
                }
                _ => {}
            }
        }
    }
    None
}

fn shell(arguments: &[String]) -> Option<String> {
    let mut rest = arguments.iter();
    while let Some(first) = rest.next() {
        if SHELL_WITH_VALUE.contains(&first.as_str()) {
            rest.next();
        } else if first == "--" {
            return rest.next().cloned();
        } else if !first.starts_with(['-', '+']) {
            return Some(first.clone());
        } else if !first.starts_with("--") && first.contains(['c', 's']) {
            return None;
        }
    }
    None
}

/// The first argument that is a script by its name, or the module after `-m`.
fn launched(arguments: &[String]) -> Option<String> {
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "-m" || argument == "--module" {
            return rest.next().cloned();
        }
        if !argument.starts_with('-') && [".py", ".pyc", ".sh"].iter().any(|end| argument.ends_with(end)) {
            return Some(argument.clone());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn script(line: &str) -> Option<String> {
        let arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
        of(&arguments[0], &arguments)
    }

    #[test]
    fn the_script_is_found_behind_the_interpreters_options() {
        for (line, expected) in [
            ("python train.py --epochs 3", "train.py"),
            ("/usr/bin/python3.12 -u -OO /home/u/train.py", "/home/u/train.py"),
            ("python3 -W ignore -X dev -Wd train.py", "train.py"),
            ("python3 --check-hash-based-pycs always train.py", "train.py"),
            ("python -m pkg.train --lr 1", "pkg.train"),
            ("python -um pkg.train", "pkg.train"),
            ("python -Impkg.train", "pkg.train"),
            ("pypy3 train.py", "train.py"),
            ("bash -e -o pipefail run.sh", "run.sh"),
            ("sh -- run.sh", "run.sh"),
            ("torchrun --nproc-per-node 2 train.py", "train.py"),
            ("torchrun --nproc-per-node 2 -m pkg.train", "pkg.train"),
            ("python3 /opt/bin/torchrun --nnodes 1 train.py", "train.py"),
            ("python3 -m torch.distributed.run --nnodes 1 train.py", "train.py"),
            ("python3 /opt/bin/accelerate launch --num_processes 2 train.py", "train.py"),
            ("python3 /opt/bin/torchrun --help", "/opt/bin/torchrun"),
        ] {
            assert_eq!(script(line).as_deref(), Some(expected), "{line}");
        }
    }

    #[test]
    fn code_without_a_file_and_other_programs_have_no_script() {
        for line in [
            "python",
            "python -c print(1) train.py",
            "python -Ic code",
            "python - train.py",
            "python -m",
            "python -W",
            "bash -c ./train.py",
            "bash -lc ./train.py",
            "bash -i",
            "pythonic train.py",
            "cp a.py b.py",
            "",
        ] {
            assert_eq!(script(line), None, "{line}");
        }
        assert_eq!(of("python3", &[]), None);
    }

    #[test]
    fn a_renamed_process_is_known_by_its_program() {
        let line = ["trainer".to_owned(), "train.py".to_owned()];
        assert_eq!(of("/usr/bin/python3.12", &line).as_deref(), Some("train.py"));
    }

    proptest! {
        #[test]
        fn any_arguments_are_survived(arguments in proptest::collection::vec("(-{0,2}[cmWXu]{0,3}|\u{e9}.py|-m|x)", 0..6)) {
            for program in ["python", "bash", "torchrun"] {
                of(program, &arguments);
            }
        }
    }
}
