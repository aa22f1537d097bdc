//! From a registration to the files that dnf reads: which files, their content, and the list of changes that leads there.
//! It decides and writes nothing.
//!
//! One order holds for all lists: the repo file is moved aside before a variable changes, and comes back last, so that dnf
//! never sees an enabled section with a credential that is not complete.

use std::collections::BTreeMap;

use els_protocol::Sha256Hex;

use crate::file_state::FileState;
use els_host::ini::sections;
use els_host::network::Credential;
use els_host::root::{Change, Found, PathError, Result, Root};
use nix::errno::Errno;

use crate::warning::FileKept;

/// A file with one fixed place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) path: &'static str,
    pub(crate) mode: u32,
    /// The folder for its temporary file: on the same file system, and where dnf does not look.
    pub(crate) staging: &'static str,
}

const KEYS: &str = "/etc/pki/rpm-gpg";
const STATE: &str = "/var/lib/els-register";

/// The files that depend on where dnf looks for repo files and variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Files {
    pub(crate) repo: File,
    /// Its place while its credential is not complete.
    pub(crate) repo_off: File,
    /// A newer shipped one, next to one that the administrator edited.
    pub(crate) repo_new: File,
    /// A repo file that is not ours, or was edited and is no longer used.
    repo_save: &'static str,
    /// `$els_url`.
    pub(crate) url: File,
    /// `$els_id`.
    pub(crate) id: File,
    /// `$els_token`.
    pub(crate) token: File,
    /// `$releasever`, only for a product that keeps a minor release.
    pub(crate) releasever: File,
    repos: &'static str,
    variables: &'static str,
    variables_staging: &'static str,
}

/// What `$releasever` was before; empty if there was none.
pub(crate) const RELEASEVER_SAVE: File =
    File { path: "/var/lib/els-register/releasever.els-save", mode: 0o644, staging: STATE };
/// The GPG key of the repositories' metadata.
pub(crate) const KEY: File = File { path: "/etc/pki/rpm-gpg/RPM-GPG-KEY-ELS", mode: 0o644, staging: KEYS };
const KEY_SAVE: &str = "/etc/pki/rpm-gpg/RPM-GPG-KEY-ELS.els-save";

impl Files {
    /// The files in these folders.
    pub(crate) fn in_folders(root: &Root, repos: &str, variables: &str) -> Self {
        let (repos, variables) = (keep(repos.to_owned()), keep(variables.to_owned()));
        // dnf reads every file in the folder of variables, so temporary files are made in the folder above, unless that is
        // another file system.
        let above = variables.rsplit_once('/').map_or("", |(above, _)| above);
        let staging = if above.is_empty() || !root.is_one_mount(above, variables) { variables } else { above };
        let repo = |name: &str| File { path: keep(format!("{repos}/{name}")), mode: 0o644, staging: repos };
        let variable = |name: &str, mode| File { path: keep(format!("{variables}/{name}")), mode, staging };
        Files {
            repo: repo("els.repo"),
            repo_off: repo("els.repo.els-off"),
            repo_new: repo("els.repo.els-new"),
            repo_save: keep(format!("{repos}/els.repo.els-save")),
            url: variable("els_url", 0o644),
            id: variable("els_id", 0o644),
            token: variable("els_token", 0o600),
            releasever: variable("releasever", 0o644),
            repos,
            variables,
            variables_staging: staging,
        }
    }

    /// Where dnf looks unless dnf.conf says otherwise.
    pub(crate) fn usual(root: &Root) -> Self {
        Files::in_folders(root, "/etc/yum.repos.d", "/etc/dnf/vars")
    }

    /// The files of a state.
    pub(crate) fn recorded(root: &Root, recorded: &Hashes) -> Option<Self> {
        let folder = |name: &str| recorded.keys().find_map(|path| path.strip_suffix(name));
        Some(Files::in_folders(root, folder("/els.repo")?, folder("/els_url")?))
    }

    /// The folders that hold these files or their temporary ones.
    pub(crate) fn folders(&self) -> [&'static str; 4] {
        [self.repos, self.variables_staging, self.variables, KEYS]
    }

    /// The folders that temporary files are made in.
    pub(crate) fn staging(&self) -> [&'static str; 3] {
        [self.repos, self.variables_staging, KEYS]
    }

    /// The folder of the variables, and the variables of every registration.
    pub(crate) fn variables(&self) -> (&'static str, [&'static str; 3]) {
        (self.variables, ["els_url", "els_id", "els_token"])
    }
}

/// A path for the whole run. There are few of them, and the program ends soon.
fn keep(path: String) -> &'static str {
    Box::leak(path.into_boxed_str())
}

/// The section whose metadata is probed at registration.
pub const PROBED_SECTION: &str = "els-updates";

/// What the files must hold.
pub(crate) struct Wanted<'a> {
    pub(crate) repo_url: &'a str,
    pub(crate) credential: &'a Credential,
    pub(crate) repo_file: &'a str,
    pub(crate) gpg_key: &'a [u8],
    pub(crate) release: Release,
}

/// What becomes of `$releasever`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Release {
    /// The product keeps no minor release.
    Free,
    Pinned(&'static str),
    /// The product keeps a minor release of another major release: after an upgrade of the system its sections would break dnf.
    Left,
}

/// The files as they are now.
pub(crate) struct Present {
    files: Files,
    repo: Option<Found>,
    repo_off: Option<Found>,
    repo_new: Option<Found>,
    url: Option<Found>,
    id: Option<Found>,
    token: Option<Found>,
    key: Option<Found>,
    releasever: Option<Found>,
    /// It matters only to a product that pins it.
    releasever_unreadable: Option<PathError>,
    releasever_save: Option<Found>,
    /// The first names for saving that are free.
    repo_save: String,
    key_save: String,
}

/// The changes that lead from what is present to what is wanted. The state is written between `first` and `last`.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) first: Vec<Change>,
    pub(crate) last: Vec<Change>,
    /// SHA-256 of each file as it should be; for the repo file, of the shipped one.
    pub(crate) hashes: BTreeMap<String, Sha256Hex>,
    /// What becomes of each file.
    pub(crate) files: Vec<(String, FileState)>,
    pub(crate) warnings: Vec<FileKept>,
}

pub(crate) type Hashes = BTreeMap<String, Sha256Hex>;

impl File {
    pub(crate) fn write(&self, content: impl Into<Vec<u8>>) -> Change {
        Change::Write {
            path: self.path.to_owned(),
            staging: self.staging.to_owned(),
            mode: self.mode,
            content: content.into(),
        }
    }

    pub(crate) fn remove(&self) -> Change {
        Change::Remove { path: self.path.to_owned(), staging: self.staging.to_owned() }
    }

    fn rename(&self, to: &str) -> Change {
        Change::Rename { from: self.path.to_owned(), to: to.to_owned() }
    }
}

impl Present {
    /// Looks at all files. A link, a folder or a device in place of one is an error.
    pub(crate) fn look(root: &Root, files: Files) -> Result<Self> {
        let free = |path: &str| -> Result<String> {
            let mut name = path.to_owned();
            for number in 1.. {
                match root.look(&name) {
                    Ok(None) => break,
                    Ok(Some(_)) => {}
                    // Something else has the name.
                    Err(error) if is_other_kind(&error) => {}
                    Err(error) => return Err(error),
                }
                name = format!("{path}.{number}");
            }
            Ok(name)
        };
        let releasever = root.look(files.releasever.path);
        Ok(Present {
            files,
            repo: root.look(files.repo.path)?,
            repo_off: root.look(files.repo_off.path)?,
            repo_new: root
                .look(files.repo_new.path)
                .or_else(|error| if is_other_kind(&error) { Ok(None) } else { Err(error) })?,
            url: root.look(files.url.path)?,
            id: root.look(files.id.path)?,
            token: root.look(files.token.path)?,
            key: root.look(KEY.path)?,
            releasever: releasever.clone().unwrap_or_default(),
            releasever_unreadable: releasever.err(),
            releasever_save: root.look(RELEASEVER_SAVE.path)?,
            repo_save: free(files.repo_save)?,
            key_save: free(KEY_SAVE)?,
        })
    }

    /// Fails if what is to be pinned cannot be read.
    pub(crate) fn require_release(&self, release: Release) -> Result<()> {
        match (release, &self.releasever_unreadable) {
            (Release::Pinned(_), Some(error)) => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// Whether all three variables are there and hold `credential`.
    pub(crate) fn holds(&self, credential: &Credential) -> bool {
        let is = |found: &Option<Found>, file: &File, text: &str| {
            found.as_ref().is_some_and(|found| found.is(line(text).as_bytes(), file.mode))
        };
        is(&self.id, &self.files.id, &credential.id.to_string())
            && is(&self.token, &self.files.token, credential.token.expose())
            && self.url.as_ref().is_some_and(|found| found.mode == self.files.url.mode)
    }

    /// The changes of a registration or a refresh. `recorded`: the hashes in the state, if there is one.
    pub(crate) fn plan(&self, wanted: &Wanted<'_>, recorded: Option<&Hashes>) -> Plan {
        let mut plan = Plan::default();
        let variables = [
            (self.files.url, &self.url, line(wanted.repo_url)),
            (self.files.id, &self.id, line(&wanted.credential.id.to_string())),
            (self.files.token, &self.token, line(wanted.credential.token.expose())),
        ];
        let whole = variables
            .iter()
            .all(|(file, found, text)| found.as_ref().is_some_and(|f| f.is(text.as_bytes(), file.mode)));
        let mut aside = self.repo.is_none();
        if !whole && self.repo.is_some() {
            plan.first.push(self.files.repo.rename(self.files.repo_off.path));
            aside = true;
        }
        self.plan_key(wanted.gpg_key, recorded, &mut plan);
        for (file, found, text) in variables {
            plan.hashes.insert(file.path.to_owned(), Sha256Hex::of(text.as_bytes()));
            if found.as_ref().is_some_and(|found| found.is(text.as_bytes(), file.mode)) {
                plan.file(file.path, FileState::Unchanged);
            } else {
                plan.first.push(file.write(text));
                plan.file(file.path, FileState::Written);
            }
        }
        self.plan_release(wanted.release, recorded, &mut plan);
        if wanted.release == Release::Left {
            self.plan_aside(aside, recorded, &mut plan);
        } else {
            self.plan_repo(wanted.repo_file, aside, recorded, &mut plan);
        }
        plan
    }

    /// The changes of `--refresh --offline`: only the shipped files. The repo file comes back only with a complete credential.
    pub(crate) fn plan_shipped(
        &self,
        repo_file: &str,
        gpg_key: &[u8],
        release: Release,
        whole: bool,
        recorded: &Hashes,
    ) -> Plan {
        let mut plan = Plan { hashes: recorded.clone(), ..Plan::default() };
        self.plan_key(gpg_key, Some(recorded), &mut plan);
        self.plan_release(release, Some(recorded), &mut plan);
        if release == Release::Left {
            self.plan_aside(self.repo.is_none(), Some(recorded), &mut plan);
        } else if whole {
            self.plan_repo(repo_file, self.repo.is_none(), Some(recorded), &mut plan);
        }
        plan
    }

    fn plan_key(&self, key: &[u8], recorded: Option<&Hashes>, plan: &mut Plan) {
        plan.hashes.insert(KEY.path.to_owned(), Sha256Hex::of(key));
        match &self.key {
            Some(found) if found.is(key, KEY.mode) => return plan.file(KEY.path, FileState::Unchanged),
            Some(found) if recorded.is_none() && found.content.as_deref() != Some(key) => {
                plan.warn(FileKept::OtherKey { path: KEY.path, to: self.key_save.clone() });
                plan.first.push(KEY.rename(&self.key_save));
            }
            _ => {}
        }
        plan.first.push(KEY.write(key));
        plan.file(KEY.path, FileState::Written);
    }

    /// The pin, with what was there before kept; or the end of a pin.
    fn plan_release(&self, release: Release, recorded: Option<&Hashes>, plan: &mut Plan) {
        let ours = recorded.is_some_and(|recorded| recorded.contains_key(self.files.releasever.path));
        let Release::Pinned(pin) = release else {
            if ours {
                let mut changes = Vec::new();
                self.restore_release(recorded, &mut changes, plan);
                plan.first.extend(changes);
                plan.hashes.remove(self.files.releasever.path);
            }
            return;
        };
        let text = line(pin);
        plan.hashes.insert(self.files.releasever.path.to_owned(), Sha256Hex::of(text.as_bytes()));
        let found = self.releasever.as_ref();
        let content = found.and_then(|found| found.content.as_deref()).unwrap_or_default();
        // Written before the pin, also if there was nothing: a run that is killed in between must not take its own pin for a
        // value of the administrator's.
        if !ours && (self.releasever_save.is_none() || !(content == text.as_bytes() || content.is_empty())) {
            plan.first.push(RELEASEVER_SAVE.write(content));
            if found.is_some() {
                plan.warn(FileKept::OtherRelease { path: self.files.releasever.path, to: RELEASEVER_SAVE.path });
            }
        }
        if found.is_some_and(|found| found.is(text.as_bytes(), self.files.releasever.mode)) {
            return plan.file(self.files.releasever.path, FileState::Unchanged);
        }
        plan.first.push(self.files.releasever.write(text));
        plan.file(self.files.releasever.path, FileState::Written);
    }

    /// The changes that put `$releasever` back as it was. A value that somebody wrote since stays.
    fn restore_release(&self, recorded: Option<&Hashes>, changes: &mut Vec<Change>, plan: &mut Plan) {
        let ours = recorded.and_then(|recorded| recorded.get(self.files.releasever.path));
        let content = self.releasever.as_ref().and_then(|found| found.content.as_deref());
        let is_ours = self.releasever_unreadable.is_none()
            && ours.is_none_or(|ours| content.is_none_or(|content| *ours == Sha256Hex::of(content)));
        let saved = self.releasever_save.as_ref().and_then(|found| found.content.clone()).unwrap_or_default();
        if !is_ours {
            plan.file(self.files.releasever.path, FileState::Kept);
        } else if !saved.is_empty() {
            changes.push(self.files.releasever.write(saved));
            plan.file(self.files.releasever.path, FileState::Written);
        } else if self.releasever.is_some() {
            changes.push(self.files.releasever.remove());
            plan.file(self.files.releasever.path, FileState::Removed);
        }
        if self.releasever_save.is_some() {
            changes.push(RELEASEVER_SAVE.remove());
        }
    }

    /// The repo file is moved aside and stays there.
    fn plan_aside(&self, aside: bool, recorded: Option<&Hashes>, plan: &mut Plan) {
        if !aside {
            plan.first.push(self.files.repo.rename(self.files.repo_off.path));
            plan.file(self.files.repo.path, FileState::Removed);
        }
        if let Some(hash) = recorded.and_then(|recorded| recorded.get(self.files.repo.path)) {
            plan.hashes.insert(self.files.repo.path.to_owned(), *hash);
        }
    }

    /// `aside`: at this point of the plan no file is at the repo file's own path.
    fn plan_repo(&self, shipped: &str, aside: bool, recorded: Option<&Hashes>, plan: &mut Plan) {
        let shipped = shipped.as_bytes();
        let shipped_hash = Sha256Hex::of(shipped);
        let recorded = recorded.and_then(|recorded| recorded.get(self.files.repo.path)).copied();
        plan.hashes.insert(self.files.repo.path.to_owned(), shipped_hash);
        let standing = if aside { self.files.repo_off } else { self.files.repo };
        let current = self.current();
        let content = current.and_then(|found| found.content.as_deref());
        // Both exist: the repo file is the later one, the other a leftover of a run that was killed.
        let leftover = self.repo.is_some() && self.repo_off.is_some() && !aside;
        let mut edited = false;
        let put_back = |plan: &mut Plan| {
            if aside {
                plan.last.push(self.files.repo_off.rename(self.files.repo.path));
            }
        };
        match (current, content.map(Sha256Hex::of)) {
            (Some(found), Some(_)) if found.is(shipped, self.files.repo.mode) => {
                put_back(plan);
                // Moved away and restored within one run is not a change; restored after another run is one.
                let was_off = self.repo.is_none();
                plan.file(self.files.repo.path, if was_off { FileState::Written } else { FileState::Unchanged });
            }
            (Some(_), Some(hash)) if recorded.is_some_and(|recorded| recorded != hash) && hash != shipped_hash => {
                edited = true;
                put_back(plan);
                plan.file(self.files.repo.path, FileState::Kept);
                if recorded == Some(shipped_hash) {
                    plan.warn(FileKept::Edited { path: self.files.repo.path });
                } else {
                    plan.last.push(self.files.repo_new.write(shipped));
                    plan.file(self.files.repo_new.path, FileState::Written);
                    plan.warn(FileKept::EditedBesideNew { path: self.files.repo.path, new: self.files.repo_new.path });
                }
            }
            (Some(_), Some(hash)) if recorded.is_none() && hash != shipped_hash => {
                plan.warn(FileKept::NotOurs { path: self.files.repo.path, to: self.repo_save.clone() });
                plan.last.push(standing.rename(&self.repo_save));
                plan.last.push(self.files.repo.write(shipped));
                plan.file(&self.repo_save.clone(), FileState::Kept);
                plan.file(self.files.repo.path, FileState::Written);
            }
            (current, _) => {
                plan.last.push(self.files.repo.write(shipped));
                if aside && current.is_some() {
                    plan.last.push(self.files.repo_off.remove());
                }
                plan.file(self.files.repo.path, FileState::Written);
            }
        }
        if leftover {
            plan.last.push(self.files.repo_off.remove());
        }
        // The new file next to an edited one has been adopted, or is no longer needed.
        let offered = self.repo_new.as_ref().and_then(|found| found.content.as_deref());
        let ours = |content: &[u8]| [Some(shipped_hash), recorded].contains(&Some(Sha256Hex::of(content)));
        if !edited && offered.is_some_and(ours) {
            plan.last.push(self.files.repo_new.remove());
            plan.file(self.files.repo_new.path, FileState::Removed);
        }
    }

    /// The change that keeps dnf from using the credential while it is being released, and the one that undoes it.
    pub(crate) fn switch_off(&self) -> Option<(Change, Change)> {
        self.repo.is_some().then(|| {
            let back =
                Change::Rename { from: self.files.repo_off.path.to_owned(), to: self.files.repo.path.to_owned() };
            (self.files.repo.rename(self.files.repo_off.path), back)
        })
    }

    /// The changes after a registration was released: all that was written is removed, an edited repo file stays under another
    /// name. `shipped`: texts that the repo file may have without being edited; `key`: the GPG key that was installed, for
    /// the case without a state. To be called on what is present after [`Present::switch_off`].
    pub(crate) fn plan_removal(&self, recorded: Option<&Hashes>, shipped: &[&str], key: &[u8]) -> Plan {
        self.plan_leaving(recorded, shipped, key, false)
    }

    /// `plan` is for where dnf looks now; `self` is what is present where it looked before, and is removed first.
    pub(crate) fn plan_move(&self, recorded: &Hashes, shipped: &[&str], plan: Plan) -> Plan {
        let leaving = self.plan_leaving(Some(recorded), shipped, &[], true);
        let both = |before: Vec<Change>, after: Vec<Change>| before.into_iter().chain(after).collect();
        Plan {
            first: both(leaving.last, plan.first),
            files: leaving.files.into_iter().chain(plan.files).collect(),
            warnings: leaving.warnings.into_iter().chain(plan.warnings).collect(),
            ..plan
        }
    }

    /// `moves`: the key stays, since it has one place.
    fn plan_leaving(&self, recorded: Option<&Hashes>, shipped: &[&str], key: &[u8], moves: bool) -> Plan {
        let mut plan = Plan::default();
        let ours =
            |file: &File, content: &[u8], else_ours: bool| match recorded.and_then(|hashes| hashes.get(file.path)) {
                Some(hash) => *hash == Sha256Hex::of(content),
                None => else_ours,
            };
        let is_shipped = |content: &[u8]| shipped.iter().any(|text| text.as_bytes() == content);
        for (file, found) in [(self.files.repo, &self.repo), (self.files.repo_off, &self.repo_off)] {
            let Some(content) = found.as_ref().map(|found| found.content.as_deref().unwrap_or_default()) else {
                continue;
            };
            if is_shipped(content) || ours(&self.files.repo, content, false) {
                plan.last.push(file.remove());
                plan.file(self.files.repo.path, FileState::Removed);
            } else if recorded.is_some() || file.path == self.files.repo_off.path || uses_our_token(content) {
                plan.last.push(file.rename(&self.repo_save));
                plan.file(&self.repo_save.clone(), FileState::Kept);
                plan.warn(FileKept::EditedAndMoved { path: self.files.repo.path, to: self.repo_save.clone() });
            }
        }
        for (file, found) in [(self.files.token, &self.token), (self.files.id, &self.id), (self.files.url, &self.url)] {
            if found.is_some() {
                plan.last.push(file.remove());
                plan.file(file.path, FileState::Removed);
            }
        }
        if self.releasever_save.is_some()
            || recorded.is_some_and(|hashes| hashes.contains_key(self.files.releasever.path))
        {
            let mut changes = Vec::new();
            self.restore_release(recorded, &mut changes, &mut plan);
            plan.last.extend(changes);
        }
        if let Some(found) = self.key.as_ref().filter(|_| !moves) {
            let content = found.content.as_deref().unwrap_or_default();
            if ours(&KEY, content, content == key) {
                plan.last.push(KEY.remove());
                plan.file(KEY.path, FileState::Removed);
            } else {
                plan.file(KEY.path, FileState::Kept);
                plan.warn(FileKept::NotTheInstalledKey { path: KEY.path });
            }
        }
        if let Some(found) = &self.repo_new {
            let content = found.content.as_deref().unwrap_or_default();
            if is_shipped(content) || ours(&self.files.repo, content, false) {
                plan.last.push(self.files.repo_new.remove());
                plan.file(self.files.repo_new.path, FileState::Removed);
            }
        }
        plan
    }

    /// The state of each recorded file: unchanged, missing, altered, or (the repo file) edited and kept.
    pub(crate) fn compare(&self, recorded: &Hashes) -> Vec<(String, FileState)> {
        let files = [
            (self.files.repo, &self.repo),
            (self.files.url, &self.url),
            (self.files.id, &self.id),
            (self.files.token, &self.token),
            (KEY, &self.key),
        ];
        let state = |file: &File, found: &Option<Found>| {
            let Some(found) = found else { return FileState::Missing };
            let expected = recorded.get(file.path);
            let same = found.content.as_deref().is_none_or(|content| expected == Some(&Sha256Hex::of(content)));
            match (same, found.mode == file.mode) {
                (true, true) => FileState::Unchanged,
                (false, _) if file.path == self.files.repo.path => FileState::Kept,
                _ => FileState::Altered,
            }
        };
        let pin =
            recorded.contains_key(self.files.releasever.path).then_some((self.files.releasever, &self.releasever));
        files.iter().chain(&pin).map(|(file, found)| (file.path.to_owned(), state(file, found))).collect()
    }

    fn current(&self) -> Option<&Found> {
        self.repo.as_ref().or(self.repo_off.as_ref())
    }
}

impl Plan {
    /// Whether a file would be written or removed.
    pub(crate) fn changes_files(&self) -> bool {
        self.files.iter().any(|(_, state)| matches!(state, FileState::Written | FileState::Removed))
    }

    fn file(&mut self, path: &str, state: FileState) {
        self.files.push((path.to_owned(), state));
    }

    fn warn(&mut self, kept: FileKept) {
        self.warnings.push(kept);
    }
}

/// The base URL that is probed: that of `els-updates` in a repo file, with its variables replaced.
pub(crate) fn probe_url(repo_file: &str, repo_url: &str, base_architecture: &str) -> Option<String> {
    let sections = sections(repo_file).ok()?;
    let url = sections.iter().find(|section| section.id == PROBED_SECTION)?.get("baseurl")?;
    Some(url.replace("$els_url", repo_url).replace("$basearch", base_architecture))
}

/// Whether something that cannot be a file of ours is in its place.
fn is_other_kind(error: &PathError) -> bool {
    matches!(error.errno, Errno::ELOOP | Errno::EISDIR | Errno::ENOTSUP | Errno::EFBIG)
}

fn line(text: &str) -> String {
    format!("{text}\n")
}

fn uses_our_token(content: &[u8]) -> bool {
    String::from_utf8_lossy(content).contains("$els_token")
}
