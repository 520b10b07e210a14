//! One try of an upload. Files travel one by one, and only those the server does not hold yet, so a try goes on where
//! the one before broke off; a zip archive travels as it is.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use tokio::sync::mpsc::{Sender, channel};
use tokio::task::spawn_blocking;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status};

use crate::client::Milepost;
use crate::error::Error;
use crate::scenario::v1::upload_header::Content as HeaderContent;
use crate::scenario::v1::upload_scenario_request::Part;
use crate::scenario::v1::{
    FileChunk, FindMissingFilesRequest, Manifest, UploadHeader, UploadScenarioRequest, UploadScenarioResponse,
    ZipArchive,
};
use crate::scenario_files::ScenarioFiles;

const CHUNK_BYTES: u64 = 512 * 1024;
const ZIP_MAGIC: [u8; 4] = *b"PK\x03\x04";

/// What is uploaded.
pub(crate) enum Content {
    Zip(PathBuf),
    Files(ScenarioFiles),
}

impl Content {
    /// Looks at local files, a zip archive being one by its content.
    pub(crate) fn of(path: &Path) -> Result<Self, Error> {
        let mut magic = [0; ZIP_MAGIC.len()];
        let zip = path.is_file() && File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok();
        if zip && magic == ZIP_MAGIC {
            return Ok(Self::Zip(path.to_owned()));
        }
        ScenarioFiles::collect(path).map(Self::Files)
    }

    pub(crate) async fn send(
        &self,
        client: &Milepost,
        mut header: UploadHeader,
    ) -> Result<Response<UploadScenarioResponse>, Status> {
        let sources = match self {
            Self::Zip(path) => {
                header.content = Some(HeaderContent::Zip(ZipArchive {}));
                vec![(path.clone(), String::new())]
            }
            Self::Files(files) => {
                header.config_path = files.config_path.clone();
                header.content = Some(HeaderContent::Manifest(Manifest { files: files.files.clone() }));
                let request = FindMissingFilesRequest { files: files.files.clone() };
                let missing = client.scenarios().find_missing_files(request).await?.into_inner().paths;
                let missing: HashSet<_> = missing.into_iter().collect();
                let paths = files.files.iter().map(|it| &it.path).filter(|it| missing.contains(*it));
                paths.map(|path| (files.root.join(path), path.clone())).collect()
            }
        };
        let (to, parts) = channel(2);
        // Ends by itself when the call does and nobody receives any more.
        let reader = spawn_blocking(move || read(header, sources, &to));
        let answer = client.scenarios().upload_scenario(ReceiverStream::new(parts)).await;
        match reader.await {
            Ok(Err(unreadable)) => Err(Status::invalid_argument(unreadable.to_string())),
            _ => answer,
        }
    }
}

fn read(header: UploadHeader, sources: Vec<(PathBuf, String)>, to: &Sender<UploadScenarioRequest>) -> io::Result<()> {
    let part = |part| UploadScenarioRequest { part: Some(part) };
    if to.blocking_send(part(Part::Header(header))).is_err() {
        return Ok(());
    }
    for (source, path) in sources {
        let mut file = File::open(source)?;
        let mut offset = 0;
        loop {
            let mut content = Vec::new();
            let size = file.by_ref().take(CHUNK_BYTES).read_to_end(&mut content)?;
            // An empty file is one empty chunk.
            if size == 0 && offset > 0 {
                break;
            }
            let chunk = FileChunk { path: path.clone(), offset, content };
            if to.blocking_send(part(Part::Chunk(chunk))).is_err() {
                return Ok(());
            }
            if size == 0 {
                break;
            }
            offset += size as i64;
        }
    }
    Ok(())
}
