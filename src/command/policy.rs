//! `policy`: which settings hold, where each comes from, and changing them.
//!
//! A change is judged as a whole before any of it is made. Of the mount's policy the store's `config.toml` is written
//! first, durably: what is shown from then on is what the next mount has too.

use std::collections::HashMap;

use super::answer::{Answer, PolicyShown, Setting, Source};
use super::{Target, select};
use crate::base::{Error, Result, durable};
use crate::engine::Engine;
use crate::engine::layout::Layout;
use crate::options::edit;
use crate::retention::{DEFAULT, Overrides, Policy};

pub(super) fn get(engine: &Engine, at: Option<&Target>) -> Result<Answer> {
    let mount = engine.mount_policy();
    // What is in no run has the policy that its run will have.
    let run = at.map(|at| select::run_if_any(engine, at)).transpose()?.flatten();
    let Some(run) = run else {
        return Ok(Answer::Policy(show(None, &mount, &Overrides::default())));
    };
    Ok(Answer::Policy(show(Some(run.path), &mount, &run.record.settings)))
}

/// The policy of a run, or of all without settings of their own.
pub(super) fn show(run: Option<String>, mount: &Policy, own: &Overrides) -> PolicyShown {
    let (set, defaults) = (texts(mount), texts(&Policy::default()));
    let setting = |(name, _, default, _): &(&'static str, &str, &str, &str)| {
        let text = |from: &HashMap<_, String>| from.get(name).map_or((*default).to_owned(), String::clone);
        let (value, from) = match own.get(name) {
            Some(value) => (value.to_owned(), Source::Run),
            None if set.get(name) != defaults.get(name) => {
                // Switched off where the default is a value.
                (set.get(name).map_or("off".to_owned(), String::clone), Source::Mount)
            }
            None => (text(&defaults), Source::Default),
        };
        Setting { name: (*name).to_owned(), value, from }
    };
    let settings = Policy::NAMES.iter().map(setting).collect();
    PolicyShown { run, settings, wrong: own.try_over(mount).err() }
}

fn texts(policy: &Policy) -> HashMap<&'static str, String> {
    policy.settings().into_iter().collect()
}

pub(super) fn set(engine: &Engine, at: Option<&Target>, settings: &[(String, String)]) -> Result<Answer> {
    let Some(at) = at else {
        set_mount(engine, settings)?;
        return get(engine, None);
    };
    let run = select::run(engine, at)?;
    let mount = engine.mount_policy();
    let change = |own: &mut Overrides| -> Result<(), String> {
        settings.iter().try_for_each(|(name, value)| own.set(name, value))?;
        own.try_over(&mount).map(drop)
    };
    change(&mut run.record.settings.clone()).map_err(Error::Refused)?;
    let mut done = Ok(());
    let record = engine.change_run(run.id, |record| {
        let mut own = record.settings.clone();
        done = change(&mut own);
        if done.is_ok() {
            record.settings = own;
        }
    })?;
    done.map_err(Error::Refused)?;
    Ok(Answer::Policy(show(Some(run.path), &mount, &record.settings)))
}

fn set_mount(engine: &Engine, settings: &[(String, String)]) -> Result<()> {
    let mut policy = engine.mount_policy();
    let defaults = texts(&Policy::default());
    let path = Layout::new(engine.store()).config();
    let mut text = edit::read(&path).map_err(|wrong| Error::Refused(wrong.0))?;
    for (name, value) in settings {
        let (name, value) = (name.trim().replace('-', "_"), value.trim());
        let removed = value == DEFAULT;
        let value = if removed { defaults.get(name.as_str()).map_or("off", String::as_str) } else { value };
        policy.set(&name, value).map_err(Error::Refused)?;
        text = edit::with_setting(&text, &name, (!removed).then_some(value));
    }
    policy.check().map_err(Error::Refused)?;
    edit::check(&text, &path).map_err(|wrong| Error::Refused(wrong.0))?;
    durable::write_file(&path, text.as_bytes())?;
    engine.replace_policy(policy)
}
