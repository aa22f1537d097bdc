//! `/repo/`: the files of `--repo-root`, under the gate.
//!
//! Owns what HTTP adds to a file: conditions, one range, validators. The gate judges the raw request target, and the
//! walk to the file is `gate::files`'; here no path is put together.

use std::fs::{File, Metadata};
use std::io::{self, SeekFrom};
use std::net::IpAddr;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::time::SystemTime;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use els_protocol::Code;
use headers::{
    AcceptRanges, ContentLength, ContentRange, ETag, HeaderMapExt, IfModifiedSince, IfNoneMatch, IfRange, LastModified,
};
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RANGE};
use http::{HeaderMap, Method, Request, StatusCode};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::App;
use super::problem::{Refused, plain};
use super::repo_auth::refusal;
use els_server::credential::Credentials;
use els_server::path::{Prefix, RequestPath};

/// Answers a request for a file.
pub(super) async fn fetch<B>(app: &App, client: IpAddr, request: &Request<B>) -> Response {
    let Some(root) = &app.repo_root else {
        return Refused::invalid("No repositories are served here.").into_response();
    };
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED);
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let target = request.uri().path_and_query().map(|target| target.as_str()).unwrap_or_default();
    let base = Prefix::parse("/repo").unwrap_or_default();
    let path = RequestPath::parse(target.as_bytes()).and_then(|path| path.below(&base));
    let verdict = app.gate.judge((app.clock)(), path, Credentials::read(request.headers()), || client).await;
    if let Some(refused) = refusal(app, verdict) {
        return refused.into_response();
    }
    let Some(path) = path.filter(|path| !path.is_folder()) else {
        // Folders are not listed.
        return plain(StatusCode::NOT_FOUND);
    };
    let names: Vec<Vec<u8>> = path.names().collect();
    let kind = media_type(names.last().map(Vec::as_slice).unwrap_or_default());
    let root = root.clone();
    let opened = tokio::task::spawn_blocking(move || -> io::Result<Option<(File, Metadata)>> {
        let Some(file) = root.open(&names)? else { return Ok(None) };
        let metadata = file.metadata()?;
        Ok(Some((file, metadata)))
    });
    match opened.await.map_err(io::Error::other).and_then(|opened| opened) {
        Ok(Some((file, metadata))) => match send(request, file, &metadata, kind).await {
            Ok(response) => response,
            Err(error) => unreadable(&error),
        },
        Ok(None) => plain(StatusCode::NOT_FOUND),
        Err(error) => unreadable(&error),
    }
}

fn unreadable(error: &io::Error) -> Response {
    tracing::error!(%error, "a file below --repo-root cannot be read: look at its permissions and its disk");
    Refused::new(Code::Unavailable).into_response()
}

async fn send<B>(request: &Request<B>, file: File, metadata: &Metadata, kind: &'static str) -> io::Result<Response> {
    let modified = metadata.modified()?;
    let length = metadata.len();
    // Strong: a publisher replaces files by renaming, and times have nanoseconds.
    let tag = format!("\"{:x}-{:x}-{length:x}\"", metadata.mtime(), metadata.mtime_nsec());
    let validators = Validators { tag: tag.parse().map_err(io::Error::other)?, modified };
    let wanted = match judge(request.headers(), &validators, length) {
        // A range is defined for GET alone (RFC 9110, section 14.2).
        Wanted::Part(_) | Wanted::Unsatisfiable if request.method() != Method::GET => Wanted::Whole,
        wanted => wanted,
    };
    let mut response = match wanted {
        Wanted::NotModified => status(StatusCode::NOT_MODIFIED),
        Wanted::Whole => {
            let mut response = body(request.method(), file, 0..length).await?;
            response.headers_mut().typed_insert(ContentLength(length));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            response
        }
        Wanted::Part(range) => {
            let part = range.end - range.start;
            let content = ContentRange::bytes(range.clone(), length).map_err(io::Error::other)?;
            let mut response = body(request.method(), file, range).await?;
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            response.headers_mut().typed_insert(content);
            response.headers_mut().typed_insert(ContentLength(part));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            response
        }
        Wanted::Unsatisfiable => {
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

pub(super) struct Validators {
    pub(super) tag: ETag,
    pub(super) modified: SystemTime,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    NotModified,
    Whole,
    Part(Range<u64>),
    Unsatisfiable,
}

/// What a request wants of a file, by its conditions and its range (RFC 9110, sections 13 and 14).
pub(super) fn judge(headers: &HeaderMap, validators: &Validators, length: u64) -> Wanted {
    let not_modified = match headers.typed_get::<IfNoneMatch>() {
        Some(condition) => !condition.precondition_passes(&validators.tag),
        None => {
            headers.typed_get::<IfModifiedSince>().is_some_and(|condition| !condition.is_modified(validators.modified))
        }
    };
    if not_modified {
        return Wanted::NotModified;
    }
    if let Some(condition) = headers.typed_get::<IfRange>()
        && condition.is_modified(Some(&validators.tag), Some(&LastModified::from(validators.modified)))
    {
        return Wanted::Whole;
    }
    let mut ranges = headers.get_all(RANGE).iter();
    match (ranges.next().map(|range| range.to_str()), ranges.next()) {
        (Some(Ok(range)), None) => wanted_part(range, length).unwrap_or(Wanted::Whole),
        _ => Wanted::Whole,
    }
}

/// One range of bytes. `None` for whatever else stands in `Range`: other units, several ranges, nonsense. All of these
/// may be answered with the whole. (`headers::Range` calls a suffix that is longer than the file unsatisfiable.)
fn wanted_part(range: &str, length: u64) -> Option<Wanted> {
    let (first, last) = range.strip_prefix("bytes=")?.trim().split_once('-')?;
    let number = |text: &str| match text {
        "" => Some(None),
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(digits.parse::<u64>().ok()),
        _ => None,
    };
    let part = match (number(first)?, number(last)?) {
        (None, None) => return None,
        (None, Some(suffix)) => length.saturating_sub(suffix)..length,
        (Some(first), None) => first..length,
        (Some(first), Some(last)) if first > last => return None,
        (Some(first), Some(last)) => first..last.saturating_add(1).min(length),
    };
    Some(if part.is_empty() { Wanted::Unsatisfiable } else { Wanted::Part(part) })
}

async fn body(method: &Method, file: File, range: Range<u64>) -> io::Result<Response> {
    if method == Method::HEAD {
        return Ok(status(StatusCode::OK));
    }
    let mut file = tokio::fs::File::from_std(file);
    file.seek(SeekFrom::Start(range.start)).await?;
    let stream = ReaderStream::with_capacity(file.take(range.end - range.start), CHUNK);
    Ok(Response::new(Body::from_stream(stream)))
}

fn status(status: StatusCode) -> Response {
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

const CHUNK: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn wanted(pairs: &[(&str, &str)]) -> Wanted {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        judge(&headers, &Validators { tag: "\"x\"".parse().unwrap(), modified }, 100)
    }

    /// Promise: gate-files
    #[test]
    fn ranges_and_conditions_are_judged_as_the_rfc_says() {
        // 1_800_000_000 is Fri, 15 Jan 2027 08:00:00 GMT.
        let (same, earlier) = ("Fri, 15 Jan 2027 08:00:00 GMT", "Fri, 15 Jan 2027 07:59:59 GMT");
        for (headers, expected) in [
            (&[][..], Wanted::Whole),
            (&[("range", "bytes=0-")], Wanted::Part(0..100)),
            (&[("range", "bytes=10-19")], Wanted::Part(10..20)),
            (&[("range", "bytes=90-1000")], Wanted::Part(90..100)),
            (&[("range", "bytes=-10")], Wanted::Part(90..100)),
            (&[("range", "bytes=-1000")], Wanted::Part(0..100)),
            (&[("range", "bytes=99-99")], Wanted::Part(99..100)),
            (&[("range", "bytes=100-")], Wanted::Unsatisfiable),
            (&[("range", "bytes=-0")], Wanted::Unsatisfiable),
            (&[("range", "bytes=9-8")], Wanted::Whole),
            (&[("range", "bytes=-")], Wanted::Whole),
            (&[("range", "bytes=+1-2")], Wanted::Whole),
            (&[("range", "bytes=1-2"), ("range", "bytes=3-4")], Wanted::Whole),
            (&[("range", "bytes=0-1,5-6")], Wanted::Whole),
            (&[("range", "bytes=200-300,5-6")], Wanted::Whole),
            (&[("range", "lines=1-2")], Wanted::Whole),
            (&[("range", "bytes=10-19"), ("if-range", "\"x\"")], Wanted::Part(10..20)),
            (&[("range", "bytes=10-19"), ("if-range", "\"y\"")], Wanted::Whole),
            (&[("range", "bytes=10-19"), ("if-range", same)], Wanted::Part(10..20)),
            (&[("range", "bytes=10-19"), ("if-range", earlier)], Wanted::Whole),
            (&[("if-none-match", "\"x\"")], Wanted::NotModified),
            (&[("if-none-match", "\"y\"")], Wanted::Whole),
            (&[("if-none-match", "\"a tag with spaces\"")], Wanted::Whole),
            (&[("if-none-match", "\"y\""), ("if-modified-since", same)], Wanted::Whole),
            (&[("if-modified-since", same)], Wanted::NotModified),
            (&[("if-modified-since", earlier)], Wanted::Whole),
            (&[("if-modified-since", "yesterday")], Wanted::Whole),
        ] {
            assert_eq!(wanted(headers), expected, "{headers:?}");
        }
    }
}
