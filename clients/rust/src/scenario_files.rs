//! Which local files make a scenario.
//!
//! A configuration brings what it names and what its additional files name in turn, not the folder it lies in: that
//! folder is where SUMO wrote last week's outputs. The root of the scenario is the nearest directory that holds all of
//! it, so a configuration may use `../net/city.net.xml`; outside its own folder only XML is taken along, lest a
//! configuration from somewhere makes its reader upload a private key. Whether the files are any good is the server's
//! to say: what is named but not there is left out here, and refused there with file and line.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Component, Path, PathBuf};

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::scenario::v1::ScenarioFile;

// The contract's limit on the files of one scenario.
const MAX_FILES: usize = 2000;
const CONFIG_SUFFIX: &str = ".sumocfg";
const XML_SUFFIXES: [&str; 2] = [".xml", ".xml.gz"];
// Elements and their attributes that name a file to read; any other `file` of an additional file is written.
const READ: [(&str, &str); 4] =
    [("variableSpeedSign", "file"), ("calibrator", "file"), ("edgeData", "edgesFile"), ("laneData", "edgesFile")];
// Sections of a configuration whose options name files to write, if any.
const WRITING_SECTIONS: [&str; 3] = ["output", "report", "gui_only"];
const ADDITIONAL_OPTIONS: [&str; 3] = ["additional-files", "additional", "a"];
const READ_BYTES: usize = 1024 * 1024;

/// The files of a scenario below `root`, sorted by path as bytes; `config_path` is one of them.
pub(crate) struct ScenarioFiles {
    pub(crate) root: PathBuf,
    pub(crate) config_path: String,
    pub(crate) files: Vec<ScenarioFile>,
}

impl ScenarioFiles {
    /// The scenario of a `.sumocfg`, or of a directory with exactly one. Fails with SCENARIO_FILES.
    pub(crate) fn collect(path: &Path) -> Result<Self, Error> {
        let unreadable = |at: &Path| {
            let at = at.to_owned();
            move |error: io::Error| Error::scenario_files(format!("{}: {error}", at.display()))
        };
        let config = config_of(path)?;
        let folder = parent(&config).to_owned();
        let wanted = closure(&config).map_err(unreadable(&config))?;
        if wanted.len() > MAX_FILES {
            let message = format!("{} names {} files; the limit is {MAX_FILES}", path.display(), wanted.len());
            return Err(Error::scenario_files(message));
        }
        let mut root = folder.as_path();
        while !wanted.iter().all(|file| file.starts_with(root)) {
            root = parent(root);
        }
        let mut files = Vec::new();
        for file in &wanted {
            refuse_links(file, root)?;
            files.push(described(root, file).map_err(unreadable(file))?);
        }
        files.sort_by(|one, other| one.path.as_bytes().cmp(other.path.as_bytes()));
        Ok(Self { root: root.to_owned(), config_path: slashed(root, &config), files })
    }
}

fn config_of(path: &Path) -> Result<PathBuf, Error> {
    let refused = |what: &str| Error::scenario_files(format!("{}{what}", path.display()));
    let real = |path: &Path| fs::canonicalize(path).map_err(|error| refused(&format!(": {error}")));
    if path.is_file() {
        // The file itself may be a symbolic link, which is refused later.
        let folder = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
        return Ok(real(folder)?.join(path.file_name().unwrap_or_default()));
    }
    if !path.is_dir() {
        return Err(refused(": no such file or directory"));
    }
    let entries = fs::read_dir(real(path)?).map_err(|error| refused(&format!(": {error}")))?;
    let names = entries.filter_map(Result::ok).map(|entry| entry.path());
    // Archives made on a Mac leave a hidden `._name` beside each file.
    let mut found: Vec<_> =
        names.filter(|it| name(it).ends_with(CONFIG_SUFFIX) && !name(it).starts_with('.')).collect();
    found.sort();
    match found.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(refused(&format!(" holds no {CONFIG_SUFFIX}"))),
        several => {
            let names: Vec<_> = several.iter().map(|it| name(it)).collect();
            Err(refused(&format!(" holds several configurations, name one: {}", names.join(", "))))
        }
    }
}

/// The configuration, the files it names as far as they exist, and those its additional files name.
fn closure(config: &Path) -> io::Result<BTreeSet<PathBuf>> {
    let folder = parent(config);
    let mut wanted = BTreeSet::from([config.to_owned()]);
    for (option, value) in inputs(config)? {
        for file in existing(folder, &value, folder) {
            if ADDITIONAL_OPTIONS.contains(&option.as_str()) {
                for inner in read_by(&file)? {
                    // SUMO resolves some names against the file they stand in, some against where it runs.
                    wanted.extend(existing(parent(&file), &inner, folder));
                    wanted.extend(existing(folder, &inner, folder));
                }
            }
            wanted.insert(file);
        }
    }
    Ok(wanted)
}

/// Options of a configuration outside the sections of outputs, each with its value.
fn inputs(config: &Path) -> io::Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    let mut section = String::new();
    parse(config, |name, element| match attribute(element, "value").or_else(|| attribute(element, "v")) {
        None => section = name.to_owned(),
        Some(value) => {
            if !WRITING_SECTIONS.contains(&section.as_str()) && !name.contains("output") {
                found.push((name.to_owned(), value));
            }
        }
    })?;
    Ok(found)
}

/// What an additional file names for SUMO to read.
fn read_by(additional: &Path) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    if !name(additional).ends_with(".gz") {
        parse(additional, |name, element| {
            let named = READ.iter().filter(|(of, _)| *of == name);
            found.extend(named.filter_map(|(_, key)| attribute(element, key)));
        })?;
    }
    Ok(found)
}

/// Calls `start` for each element up to the first error, which the server will report with its line.
fn parse(path: &Path, mut start: impl FnMut(&str, &BytesStart<'_>)) -> io::Result<()> {
    let mut reader = Reader::from_reader(BufReader::new(File::open(path)?));
    let mut buffer = Vec::new();
    loop {
        match reader.read_event_into(&mut buffer) {
            Ok(Event::Start(element) | Event::Empty(element)) => {
                start(&String::from_utf8_lossy(element.name().as_ref()), &element);
            }
            // A document type may define entities: nothing good comes of them, and the server refuses it.
            Ok(Event::Eof | Event::DocType(_)) => return Ok(()),
            Ok(_) => {}
            Err(quick_xml::Error::Io(error)) => return Err(io::Error::new(error.kind(), error.to_string())),
            Err(_) => return Ok(()),
        }
        buffer.clear();
    }
}

fn attribute(element: &BytesStart<'_>, key: &str) -> Option<String> {
    let attribute = element.try_get_attribute(key).ok()??;
    attribute.unescape_value().ok().map(|it| it.into_owned())
}

/// Files that an option or attribute names, as far as they exist and may be taken along.
fn existing(folder: &Path, value: &str, below: &Path) -> Vec<PathBuf> {
    let parts = value.split(',').map(str::trim);
    // SUMO decodes %20 and the like in the file names of configurations it saved itself.
    let names = parts.flat_map(|part| [part.to_owned(), unquoted(part)]);
    let files = names.filter(|it| !it.is_empty() && !it.starts_with('/')).map(|it| normal(&folder.join(it)));
    files
        .filter(|file| file.starts_with(below) || XML_SUFFIXES.iter().any(|it| name(file).ends_with(it)))
        .filter(|file| file.is_file() || file.is_symlink())
        .collect()
}

/// The path without `.` and `..`, by its text alone.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            other => normal.push(other),
        }
    }
    normal
}

fn unquoted(name: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = name.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = after.get(..2).filter(|_| first == b'%').and_then(|it| std::str::from_utf8(it).ok());
        match hex.and_then(|it| u8::from_str_radix(it, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn refuse_links(file: &Path, root: &Path) -> Result<(), Error> {
    match file.ancestors().take_while(|it| *it != root).find(|it| it.is_symlink()) {
        Some(link) => Err(Error::scenario_files(format!("{} is a symbolic link", link.display()))),
        None => Ok(()),
    }
}

fn described(root: &Path, path: &Path) -> io::Result<ScenarioFile> {
    let mut file = File::open(path)?;
    let mut digest = Sha256::new();
    let mut size_bytes = 0;
    let mut piece = vec![0; READ_BYTES];
    loop {
        let size = file.read(&mut piece)?;
        if size == 0 {
            break;
        }
        digest.update(&piece[..size]);
        size_bytes += size as i64;
    }
    Ok(ScenarioFile { path: slashed(root, path), sha256: format!("{:x}", digest.finalize()), size_bytes })
}

fn slashed(root: &Path, file: &Path) -> String {
    let below = file.strip_prefix(root).unwrap_or(file);
    below.components().map(|it| it.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

fn name(path: &Path) -> std::borrow::Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}
