//! What the container agent tells the job about its own task: the cluster, and which task it is.
//!
//! Plain HTTP on a link-local address, no AWS API and no credentials.
//! [developer guide, "Amazon ECS task metadata endpoint version 4"]

use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use aws_smithy_runtime_api::client::{
    http::HttpConnector,
    orchestrator::{HttpRequest, HttpResponse},
};
use aws_smithy_types::{body::SdkBody, byte_stream::ByteStream};
use serde::Deserialize;

use super::http;
use crate::planning::model::TaskArn;

/// The agent answers from its memory, on the same machine.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The job's own task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnTask {
    /// The cluster that it runs in: its short name or its ARN, as the agent has it.
    pub cluster: String,
    /// Which it is; kept out of every count and move.
    pub task: TaskArn,
}

/// Asks the endpoint, whose base address is `uri`, about the job's own task.
///
/// # Errors
/// Names the address, and what went wrong there.
pub async fn own_task(uri: &str) -> Result<OwnTask> {
    let address = format!("{uri}/task");
    tokio::time::timeout(TIMEOUT, get(&address))
        .await
        .unwrap_or_else(|_| Err(anyhow!("no answer within {} s", TIMEOUT.as_secs())))
        .and_then(|answer| read(&answer))
        .with_context(|| format!("cannot learn from the task metadata endpoint {address} which cluster this is"))
}

async fn get(address: &str) -> Result<Vec<u8>> {
    let mut request = HttpRequest::new(SdkBody::empty());
    request.set_uri(address)?;
    let response: HttpResponse = http::direct().call(request).await?;
    ensure!(response.status().is_success(), "it answered with HTTP status {}", response.status());
    Ok(ByteStream::new(response.into_body()).collect().await?.to_vec())
}

/// Reads the endpoint's answer, of which only two members matter here.
fn read(json: &[u8]) -> Result<OwnTask> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        cluster: String,
        #[serde(rename = "TaskARN")]
        task_arn: String,
    }
    let Answer { cluster, task_arn } = serde_json::from_slice(json).context("its answer is not that of version 4")?;
    ensure!(!cluster.is_empty() && !task_arn.is_empty(), "its answer names no cluster or no task");
    Ok(OwnTask { cluster, task: task_arn.as_str().into() })
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
        thread,
    };

    use super::*;

    /// What is learned from an agent that answers so, or for ever not at all; `{agent}` in `expected` is its address.
    #[track_caller]
    fn check(answer: Option<&'static str>, expected: Result<OwnTask, &str>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let uri = format!("http://{}/v4/1f3c", listener.local_addr().unwrap());
        let agent = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 1024];
            let length = stream.read(&mut asked).unwrap();
            match answer {
                Some(answer) => stream.write_all(answer.as_bytes()).unwrap(),
                // Until the client has given up and closed.
                None => drop(stream.read(&mut asked)),
            }
            String::from_utf8_lossy(&asked[..length]).lines().next().map(str::to_owned)
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let learned = runtime.block_on(own_task(&uri)).map_err(|error| format!("{error:#}"));
        drop(runtime);
        assert_eq!(learned, expected.map_err(|sentence| sentence.replace("{agent}", &uri)));
        assert_eq!(agent.join().unwrap().as_deref(), Some("GET /v4/1f3c/task HTTP/1.1"));
    }

    fn own(cluster: &str) -> OwnTask {
        let task = "arn:aws:ecs:us-west-2:111122223333:task/default/158d1c8083dd49d6b527399fd6414f5c".into();
        OwnTask { cluster: cluster.to_owned(), task }
    }

    #[test]
    fn the_agent_names_the_cluster_and_the_task() {
        check(
            Some(concat!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n",
                r#"{"Cluster":"default","TaskARN":"arn:aws:ecs:us-west-2:111122223333:task/default/158d1c8083dd49d6b527399fd6414f5c","#,
                r#""Family":"rebalancer","Revision":"5","DesiredStatus":"RUNNING","Containers":[{"Name":"job"}]}"#
            )),
            Ok(own("default")),
        );
        let cluster = "arn:aws:ecs:us-west-2:111122223333:cluster/default";
        let json = format!(r#"{{"TaskARN":"{}","Cluster":"{cluster}"}}"#, own("").task);
        assert_eq!(read(json.as_bytes()).unwrap(), own(cluster));
    }

    #[test]
    fn what_is_no_answer_is_said() {
        const CANNOT: &str = "cannot learn from the task metadata endpoint {agent}/task which cluster this is: ";
        check(
            Some("HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n"),
            Err(&format!("{CANNOT}it answered with HTTP status 404")),
        );
        check(None, Err(&format!("{CANNOT}no answer within 1 s")));
        let problem = |json: &str| format!("{:#}", read(json.as_bytes()).unwrap_err());
        assert_eq!(
            problem(r#"{"Cluster":"a"}"#),
            "its answer is not that of version 4: missing field `TaskARN` at line 1 column 15"
        );
        assert_eq!(problem(r#"{"Cluster":"","TaskARN":"a"}"#), "its answer names no cluster or no task");
    }
}
