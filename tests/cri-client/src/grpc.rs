//! One gRPC call without streaming: a POST whose body is the message behind a flag and its length, and whose trailers
//! hold the status.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use bytes::{BufMut, Bytes, BytesMut};
use h2::RecvStream;
use http::{HeaderMap, Request};
use prost::Message;
use tokio::net::UnixStream;

/// Long enough for any step of an engine on a busy machine.
const DEADLINE: Duration = Duration::from_secs(90);

/// Calls `method` of the service at `socket`.
pub fn call<Answer: Message + Default>(
    socket: &Path,
    method: &str,
    request: &impl Message,
) -> Result<Answer> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let body = frame(request);
    let answer = runtime.block_on(async {
        let exchange = tokio::time::timeout(DEADLINE, exchange(socket, method, body));
        exchange
            .await
            .unwrap_or_else(|_| bail!("no answer within {DEADLINE:?}"))
    })?;
    Ok(Answer::decode(unframe(answer)?)?)
}

async fn exchange(socket: &Path, method: &str, body: Bytes) -> Result<Bytes> {
    let stream = UnixStream::connect(socket)
        .await
        .with_context(|| socket.display().to_string())?;
    let (client, connection) = h2::client::handshake(stream).await?;
    let connection = tokio::spawn(connection);
    let mut client = client.ready().await?;
    let head = Request::post(format!("http://localhost{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())?;
    let (response, mut send) = client.send_request(head, false)?;
    send.send_data(body, true)?;
    let (head, stream) = response.await?.into_parts();
    let answer = read(&head.headers, stream).await;
    connection.abort();
    answer
}

/// The body, where the status is good. A call that fails at once has its status in the head, and no trailers.
async fn read(head: &HeaderMap, mut stream: RecvStream) -> Result<Bytes> {
    let mut body = BytesMut::new();
    while let Some(part) = stream.data().await {
        let part = part?;
        stream.flow_control().release_capacity(part.len())?;
        body.extend_from_slice(&part);
    }
    let trailers = stream.trailers().await?.unwrap_or_default();
    let field = |name: &str| trailers.get(name).or_else(|| head.get(name));
    let status = field("grpc-status").context("an answer without a status")?;
    if status != "0" {
        let message = field("grpc-message").map_or(&b""[..], |message| message.as_bytes());
        return Err(anyhow!("{}", percent_decoded(message)));
    }
    Ok(body.freeze())
}

fn frame(message: &impl Message) -> Bytes {
    let message = message.encode_to_vec();
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(message.len() as u32);
    framed.put_slice(&message);
    framed.freeze()
}

fn unframe(body: Bytes) -> Result<Bytes> {
    match body.first() {
        Some(0) if body.len() >= 5 => Ok(body.slice(5..)),
        _ => bail!("not a plain gRPC message: {body:?}"),
    }
}

/// A status message as it was before gRPC wrote its bytes as %XX.
fn percent_decoded(text: &[u8]) -> String {
    let (mut decoded, mut rest) = (Vec::new(), text);
    while let [first, more @ ..] = rest {
        let digits = more.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if *first == b'%' => {
                decoded.push(byte);
                rest = &more[2..];
            }
            _ => {
                decoded.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}
