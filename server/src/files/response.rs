//! The response for one file: validators, conditions, one range, the body.

use std::fs::{File, Metadata};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use els_protocol::Code;
use futures_util::Stream;
use futures_util::stream::try_unfold;
use headers::{AcceptRanges, ContentLength, ContentRange, HeaderMapExt, LastModified};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, StatusCode};

use super::Folder;
use super::range::{Selection, Validators, select};
use crate::path::RequestPath;
use crate::problem::{ProblemResponse, plain};

impl Folder {
    /// Answers a GET or HEAD request for `path`. Folders are not listed: 404.
    pub async fn respond(&self, method: &Method, headers: &HeaderMap, path: RequestPath<'_>) -> Response {
        if path.is_folder() {
            return plain(StatusCode::NOT_FOUND);
        }
        let names: Vec<Vec<u8>> = path.names().collect();
        let kind = media_type(names.last().map(Vec::as_slice).unwrap_or_default());
        let folder = self.clone();
        let opened = tokio::task::spawn_blocking(move || -> io::Result<Option<(File, Metadata)>> {
            let Some(file) = folder.open(&names)? else { return Ok(None) };
            let metadata = file.metadata()?;
            Ok(Some((file, metadata)))
        });
        let sent = match opened.await.map_err(io::Error::other).and_then(|opened| opened) {
            Ok(Some((file, metadata))) => send(method, headers, file, &metadata, kind).await,
            Ok(None) => Ok(plain(StatusCode::NOT_FOUND)),
            Err(error) => Err(error),
        };
        sent.unwrap_or_else(|error| {
            tracing::error!(%error, folder = %self.path.display(), "cannot read a file: check its permissions and its disk");
            ProblemResponse::new(Code::Unavailable).into_response()
        })
    }
}

async fn send(
    method: &Method,
    headers: &HeaderMap,
    file: File,
    metadata: &Metadata,
    kind: &'static str,
) -> io::Result<Response> {
    let modified = metadata.modified()?;
    let length = metadata.len();
    // Strong: a publisher replaces files by renaming, and times have nanoseconds.
    let tag = format!("\"{:x}-{:x}-{length:x}\"", metadata.mtime(), metadata.mtime_nsec());
    let validators = Validators { tag: tag.parse().map_err(io::Error::other)?, modified };
    let selection = match select(headers, &validators, length) {
        // A range is defined for GET only (RFC 9110, section 14.2).
        Selection::Part(_) | Selection::Unsatisfiable if method != Method::GET => Selection::Whole,
        selection => selection,
    };
    let mut response = match selection {
        Selection::NotModified => empty(StatusCode::NOT_MODIFIED),
        Selection::Whole => content(method, file, 0..length, kind).await?,
        Selection::Part(range) => {
            let header = ContentRange::bytes(range.clone(), length).map_err(io::Error::other)?;
            let mut response = content(method, file, range, kind).await?;
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            response.headers_mut().typed_insert(header);
            response
        }
        Selection::Unsatisfiable => {
            let mut response = plain(StatusCode::RANGE_NOT_SATISFIABLE);
            response.headers_mut().typed_insert(ContentRange::unsatisfied_bytes(length));
            response
        }
    };
    let headers = response.headers_mut();
    headers.typed_insert(validators.tag);
    headers.typed_insert(LastModified::from(modified));
    headers.typed_insert(AcceptRanges::bytes());
    Ok(response)
}

async fn content(method: &Method, file: File, range: Range<u64>, kind: &'static str) -> io::Result<Response> {
    let length = range.end - range.start;
    let mut response = if method == Method::HEAD {
        empty(StatusCode::OK)
    } else {
        Response::new(Body::from_stream(chunks(file, range)))
    };
    response.headers_mut().typed_insert(ContentLength(length));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    Ok(response)
}

/// The part `range` of a file. Each chunk is read when the one before has been taken, so that a slow client costs one.
fn chunks(file: File, range: Range<u64>) -> impl Stream<Item = io::Result<Bytes>> {
    let file = Arc::new(file);
    try_unfold((file, range), async |(file, mut range)| {
        let length = usize::try_from(range.end - range.start).unwrap_or(CHUNK).min(CHUNK);
        if length == 0 {
            return Ok(None);
        }
        let (reader, at) = (file.clone(), range.start);
        let read = move || -> io::Result<Vec<u8>> {
            let mut chunk = vec![0; length];
            let length = reader.read_at(&mut chunk, at)?;
            chunk.truncate(length);
            Ok(chunk)
        };
        let chunk = tokio::task::spawn_blocking(read).await.map_err(io::Error::other)??;
        if chunk.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file has become shorter"));
        }
        range.start += chunk.len() as u64;
        Ok(Some((Bytes::from(chunk), (file, range))))
    })
}

fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

fn media_type(name: &[u8]) -> &'static str {
    match name.rsplit(|byte| *byte == b'.').next() {
        Some(b"xml") => "application/xml",
        Some(b"rpm") => "application/x-rpm",
        _ => "application/octet-stream",
    }
}

/// Large enough for full speed, small enough for many connections.
const CHUNK: usize = 16 * 1024;
