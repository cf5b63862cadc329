//! The wire: which service, which operation, in which protocol; the answer back in the same.

pub(crate) mod application_auto_scaling;
pub(crate) mod auto_scaling;
pub(crate) mod cbor;
pub(crate) mod cloudwatch;
pub(crate) mod ecs;
pub(crate) mod form;
pub(crate) mod load_balancing;
pub(crate) mod queue;
mod token;

use std::io::Read;

use bytes::Bytes;
use flate2::read::GzDecoder;
use http::{HeaderValue, Request, Response, StatusCode, header::CONTENT_TYPE};
use serde_json::{Value, json};

/// Bytes of the largest body that is read, before and after it is decompressed: a full `PutMetricData` is 1 MB.
pub const LARGEST_BODY: usize = 4 << 20;

/// A request, understood as far as its envelope.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Call {
    pub(crate) service: Service,
    pub(crate) operation: String,
    pub(crate) protocol: Protocol,
    pub(crate) input: Value,
}

impl Call {
    /// The tasks and container instances that it names, as the caller wrote them.
    pub(crate) fn targets(&self) -> Vec<String> {
        let listed = |member: &str| self.input[member].as_array().into_iter().flatten();
        let attributes = listed("attributes").map(|attribute| &attribute["targetId"]);
        listed("tasks")
            .chain(listed("containerInstances"))
            .chain([&self.input["task"]])
            .chain(attributes)
            .filter_map(|name| Some(name.as_str()?.to_owned()))
            .collect()
    }
}

/// The services that are simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    Ecs,
    CloudWatch,
    LoadBalancing,
    AutoScaling,
    ApplicationAutoScaling,
    Queue,
}

impl Service {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ecs => "ecs",
            Self::CloudWatch => "cloudwatch",
            Self::LoadBalancing => "elasticloadbalancing",
            Self::AutoScaling => "autoscaling",
            Self::ApplicationAutoScaling => "application-autoscaling",
            Self::Queue => "sqs",
        }
    }
}

/// How the request was written, and the answer will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// AWS JSON 1.1 (ECS).
    Json11,
    /// AWS JSON 1.0 (CloudWatch of boto3 and the AWS CLI; SQS).
    Json10,
    /// Smithy RPC v2 CBOR (CloudWatch of the Rust SDK).
    Cbor,
    /// AWS query: a form in, XML out.
    Query(Version),
}

/// An XML namespace goes with each query API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    CloudWatch,
    LoadBalancing,
    AutoScaling,
}

/// A refusal in the service's own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) status: StatusCode,
}

impl ApiError {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), status: StatusCode::BAD_REQUEST }
    }

    /// Something went wrong on the service's side.
    pub(crate) fn server(service: Service) -> Self {
        let code = match service {
            Service::Ecs => "ServerException",
            Service::CloudWatch => "InternalServiceError",
            Service::LoadBalancing | Service::AutoScaling => "InternalFailure",
            Service::ApplicationAutoScaling => "InternalServiceException",
            Service::Queue => "InternalError",
        };
        let message = "Service Unavailable. Please try again later.".to_owned();
        Self { code, message, status: StatusCode::INTERNAL_SERVER_ERROR }
    }

    /// The caller's policy doesn't allow it. Where the API was always one of JSON, the code has the name of an exception.
    pub(crate) fn denied(service: Service, operation: &str) -> Self {
        let (code, status) = match service {
            Service::Ecs | Service::ApplicationAutoScaling => ("AccessDeniedException", StatusCode::BAD_REQUEST),
            Service::CloudWatch | Service::LoadBalancing | Service::AutoScaling | Service::Queue => {
                ("AccessDenied", StatusCode::FORBIDDEN)
            }
        };
        let action = format!("{}:{operation}", service.name());
        let message = format!(
            "User: arn:aws:sts::111122223333:assumed-role/simulated is not authorized to perform: {action} because no \
             identity-based policy allows the {action} action"
        );
        Self { code, message, status }
    }

    /// The caller's credentials have run out.
    pub(crate) fn expired_token() -> Self {
        Self::new("ExpiredTokenException", "The security token included in the request is expired")
    }

    /// Whose fault it is, in the words of the query protocol.
    fn at_fault(&self) -> &'static str {
        if self.status.is_server_error() { "Receiver" } else { "Sender" }
    }
}

/// Understands a request's envelope and body. The error comes with the protocol that it is to be told in.
pub(crate) fn decode(request: &Request<Bytes>) -> Result<Call, (Protocol, ApiError)> {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let target = header("x-amz-target");
    let path = request.uri().path();
    let (service, protocol, operation) =
        if let Some(operation) = target.strip_prefix("AmazonEC2ContainerServiceV20141113.") {
            (Some(Service::Ecs), Protocol::Json11, operation.to_owned())
        } else if let Some(operation) = target.strip_prefix("GraniteServiceVersion20100801.") {
            (Some(Service::CloudWatch), Protocol::Json10, operation.to_owned())
        } else if let Some(operation) = target.strip_prefix("AmazonSQS.") {
            (Some(Service::Queue), Protocol::Json10, operation.to_owned())
        } else if let Some(operation) = target.strip_prefix("AnyScaleFrontendService.") {
            (Some(Service::ApplicationAutoScaling), Protocol::Json11, operation.to_owned())
        } else if let Some(operation) = path.strip_prefix("/service/GraniteServiceVersion20100801/operation/") {
            (Some(Service::CloudWatch), Protocol::Cbor, operation.to_owned())
        } else if header("content-type").starts_with("application/x-www-form-urlencoded") {
            (None, Protocol::Query(Version::CloudWatch), String::new())
        } else {
            let message = format!("unknown target {target:?} and path {path:?}");
            return Err((Protocol::Json11, ApiError::new("UnknownOperationException", message)));
        };
    let body = body(request.body(), header("content-encoding")).map_err(|error| (protocol, error))?;
    let serialization = |message: String| (protocol, ApiError::new("SerializationException", message));
    match (service, protocol) {
        (Some(service), Protocol::Cbor) => {
            let input = cbor::decode(&body).map_err(serialization)?;
            Ok(Call { service, operation, protocol, input })
        }
        (Some(service), _) => {
            let text = if body.is_empty() { b"{}".as_slice() } else { &body };
            let input: Value = serde_json::from_slice(text).map_err(|error| serialization(error.to_string()))?;
            if !input.is_object() {
                return Err(serialization("the body is no object".to_owned()));
            }
            Ok(Call { service, operation, protocol, input })
        }
        (None, _) => form::decode(&body).map_err(|error| (protocol, error)),
    }
}

/// The body as it was before it was compressed, if it isn't too large.
fn body(raw: &Bytes, encoding: &str) -> Result<Vec<u8>, ApiError> {
    let too_large = || {
        let message = format!("the request has more than {LARGEST_BODY} bytes");
        ApiError { code: "RequestEntityTooLarge", message, status: StatusCode::PAYLOAD_TOO_LARGE }
    };
    if raw.len() > LARGEST_BODY {
        return Err(too_large());
    }
    if !encoding.split(',').any(|encoding| encoding.trim() == "gzip") {
        return Ok(raw.to_vec());
    }
    let mut body = Vec::new();
    GzDecoder::new(raw.as_ref())
        .take(LARGEST_BODY as u64 + 1)
        .read_to_end(&mut body)
        .map_err(|_| ApiError::new("SerializationException", "the body is not gzip"))?;
    if body.len() > LARGEST_BODY { Err(too_large()) } else { Ok(body) }
}

/// CloudWatch was a query service, whose codes are not the names of its errors' shapes. The newer protocols name the shape in
/// the body, and the code in a header for clients that still go by it. [Smithy, "awsQueryCompatible"]
fn shape(code: &str) -> String {
    let name = match code {
        "InvalidParameterValue" => "InvalidParameterValueException",
        "InvalidParameterCombination" => "InvalidParameterCombinationException",
        "MissingParameter" => "MissingRequiredParameterException",
        "InternalServiceError" => "InternalServiceFault",
        "InvalidAction" => "UnknownOperationException",
        other => other,
    };
    format!("com.amazonaws.cloudwatch#{name}")
}

/// An answer in the protocol of its request.
pub(crate) fn encode(
    protocol: Protocol,
    operation: &str,
    answer: &Result<Value, ApiError>,
    id: &str,
) -> Response<Bytes> {
    let status = answer.as_ref().err().map_or(StatusCode::OK, |error| error.status);
    let refusal = |kind: &str, error: &ApiError| json!({"__type": kind, "message": error.message});
    let (content_type, body) = match (protocol, answer) {
        (Protocol::Json11, Ok(value)) => ("application/x-amz-json-1.1", value.to_string().into_bytes()),
        (Protocol::Json11, Err(error)) => {
            ("application/x-amz-json-1.1", refusal(error.code, error).to_string().into_bytes())
        }
        (Protocol::Json10, Ok(value)) => ("application/x-amz-json-1.0", value.to_string().into_bytes()),
        (Protocol::Json10, Err(error)) => {
            ("application/x-amz-json-1.0", refusal(&shape(error.code), error).to_string().into_bytes())
        }
        (Protocol::Cbor, Ok(value)) => ("application/cbor", cbor::encode(value)),
        (Protocol::Cbor, Err(error)) => ("application/cbor", cbor::encode(&refusal(&shape(error.code), error))),
        (Protocol::Query(version), _) => ("text/xml", form::encode(version, operation, answer, id).into_bytes()),
    };
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let mut set = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    set(CONTENT_TYPE.as_str(), content_type);
    set("x-amzn-requestid", id);
    if protocol == Protocol::Cbor {
        set("smithy-protocol", "rpc-v2-cbor");
    }
    if let (Err(error), Protocol::Json10 | Protocol::Cbor) = (answer, protocol) {
        set("x-amzn-query-error", &format!("{};{}", error.code, error.at_fault()));
    }
    response
}

#[cfg(test)]
mod tests;
