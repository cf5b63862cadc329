//! Does a task keep data on its container instance, or on a volume of its own? Then a replacement elsewhere starts without them,
//! and two copies of a database may run.
//!
//! Not data of the instance: what is only read, sockets and the directories of them, the kernel's and the operating system's own
//! directories, `/tmp`, logs, network file systems, and Docker volumes that go with the task.

use super::{
    model::{Service, TaskDefinition, Volume, VolumeKind},
    reason::DataKept as Kept,
};

/// The first volume that a service's tasks keep data on; none where a task can start anywhere as it was.
pub fn kept(service: &Service, definition: &TaskDefinition) -> Option<Kept> {
    let mut volumes = definition.volumes.iter().filter(|volume| !volume.is_read_only);
    let of_definition = volumes.find_map(of_volume);
    of_definition.or_else(|| {
        // Named by the service; the task definition may mount it read-only.
        let is_read_only =
            |name: &String| definition.volumes.iter().any(|volume| volume.name == *name && volume.is_read_only);
        service.volume_configurations.iter().find(|name| !is_read_only(name)).cloned().map(Kept::OwnVolume)
    })
}

fn of_volume(volume: &Volume) -> Option<Kept> {
    let host_path = |path: &str| (!holds_no_data(path)).then(|| Kept::HostPath(path.to_owned()));
    match &volume.kind {
        // "The data isn't guaranteed to persist after the containers stop" [API, HostVolumeProperties].
        VolumeKind::Task | VolumeKind::NetworkFileSystem => None,
        VolumeKind::HostPath(path) => host_path(path),
        VolumeKind::AtLaunch => Some(Kept::OwnVolume(volume.name.clone())),
        VolumeKind::Docker { driver, kind, device, options, is_shared } => {
            if is_remote(driver, kind, options) || kind == "tmpfs" {
                return None;
            }
            // A bind mount by another name: the directory stays when Docker removes the volume.
            if options.split(',').any(|option| matches!(option.trim(), "bind" | "rbind")) {
                return host_path(device);
            }
            is_shared.then(|| Kept::SharedVolume(volume.name.clone()))
        }
    }
}

/// Drivers and plugins of Docker whose volumes are reached over the network, by a part of their names.
const REMOTE_DRIVERS: [&str; 13] = [
    "nfs",
    "efs",
    "fsx",
    "cifs",
    "rexray",
    "cloudstor",
    "pxd",
    "portworx",
    "sshfs",
    "s3fs",
    "ceph",
    "gluster",
    "trident",
];
/// The driver by which ECS's agent mounts EFS.
const ECS_VOLUME_PLUGIN: &str = "amazon-ecs-volume-plugin";
/// Kinds of file system that Docker's own driver mounts over the network.
const REMOTE_KINDS: [&str; 7] = ["nfs", "nfs4", "efs", "cifs", "smb3", "glusterfs", "ceph"];

fn is_remote(driver: &str, kind: &str, options: &str) -> bool {
    let driver = driver.to_ascii_lowercase();
    driver == ECS_VOLUME_PLUGIN
        || REMOTE_DRIVERS.iter().any(|remote| driver.contains(remote))
        || REMOTE_KINDS.contains(&kind.to_ascii_lowercase().as_str())
        || options.split(',').any(|option| option.trim().starts_with("addr="))
}

/// Directories that hold no data of a task's: of sockets and process ids, of the kernel, of the operating system, temporary
/// ones, and logs.
const NO_DATA: [&str; 22] = [
    "/run",
    "/var/run",
    "/proc",
    "/sys",
    "/cgroup",
    "/dev",
    "/tmp",
    "/var/tmp",
    "/var/log",
    "/var/lib/docker/containers",
    "/var/cache",
    "/etc",
    "/bin",
    "/sbin",
    "/boot",
    "/lib",
    "/lib64",
    "/usr/bin",
    "/usr/sbin",
    "/usr/lib",
    "/usr/share",
    "/usr/src",
];
/// Names of directories at which people mount network file systems on every instance.
const MOUNTED: [&str; 3] = ["efs", "nfs", "fsx"];

/// Whether a path of the instance is none that a task keeps data in.
fn holds_no_data(path: &str) -> bool {
    let plain = path.replace('\\', "/");
    // Windows's named pipes, and its logs of containers.
    let lower = plain.to_ascii_lowercase();
    if lower.starts_with("//./pipe/") || lower.starts_with("c:/programdata/docker/containers") {
        return true;
    }
    let parts: Vec<&str> = plain.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    // Where it leads, nobody knows.
    if parts.contains(&"..") {
        return false;
    }
    let is_socket = parts
        .last()
        .is_some_and(|last| last.to_ascii_lowercase().split('.').skip(1).any(|end| matches!(end, "sock" | "socket")));
    let is_below = |directory: &&str| {
        let directory: Vec<&str> = directory.split('/').filter(|part| !part.is_empty()).collect();
        parts.starts_with(&directory)
    };
    is_socket || NO_DATA.iter().any(is_below) || parts.iter().any(|part| MOUNTED.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planning::testing;

    /// What tasks keep with one volume, as words.
    fn kept_with(kind: VolumeKind, is_read_only: bool) -> String {
        let cluster = testing::cluster("a i-1 db");
        let service = &cluster.services[&"db".into()];
        let mut definition = cluster.task_definitions[&service.task_definition].clone();
        definition.volumes = vec![Volume { name: "data".to_owned(), kind, is_read_only }];
        kept(service, &definition).map_or("nothing".to_owned(), |kept| kept.to_string())
    }

    #[test]
    fn paths_of_the_instance() {
        for path in [
            "/data/pg",
            "/",
            "/srv/shop",
            "/var/lib/mysql",
            "/opt/app/logs",
            "/runs",
            "/var/runner",
            "/mnt",
            "/usr/local/data",
            "/var/log/../lib/pg",
            "/dev2",
            "data",
        ] {
            let sentence = format!("{path} of their container instance");
            assert_eq!(kept_with(VolumeKind::HostPath(path.to_owned()), false), sentence);
            assert_eq!(kept_with(VolumeKind::HostPath(path.to_owned()), true), "nothing", "{path} is only read");
        }
        for path in [
            "/run",
            "/run/",
            "/var/run/docker.sock",
            "/var//run/dbus",
            "/proc",
            "/sys/fs/cgroup",
            "/cgroup/",
            "/dev/shm",
            "/tmp",
            "/tmp/scratch",
            "/var/log",
            "/var/log/ecs",
            "/var/lib/docker/containers/",
            "/etc/localtime",
            "/usr/lib/modules",
            "/opt/agent/agent.sock",
            "/mnt/efs/uploads",
            "/efs",
            r"\\.\pipe\docker_engine",
            r"c:\ProgramData\docker\containers",
        ] {
            assert_eq!(kept_with(VolumeKind::HostPath(path.to_owned()), false), "nothing", "{path}");
        }
    }

    #[test]
    fn volumes_of_docker_by_driver_options_and_scope() {
        let shared = "the shared Docker volume data of their container instance";
        for (driver, kind, device, options, is_shared, expected) in [
            ("", "", "", "", true, shared),
            ("local", "", "", "", true, shared),
            ("local-persist", "", "", "", true, shared),
            ("local", "ext4", "/dev/xvdf", "", true, shared),
            ("local", "", "", "", false, "nothing"),
            ("local-persist", "", "", "", false, "nothing"),
            ("local", "none", "/data/pg", "bind", true, "/data/pg of their container instance"),
            ("local", "none", "/data/pg", "rw,bind", false, "/data/pg of their container instance"),
            ("local", "none", "/var/log/app", "bind", true, "nothing"),
            ("local", "tmpfs", "tmpfs", "", true, "nothing"),
            ("local", "nfs", ":/", "addr=fs-1.efs.eu-central-1.amazonaws.com,nfsvers=4.1", true, "nothing"),
            ("local", "nfs4", ":/", "", true, "nothing"),
            ("local", "", ":/", "soft, addr=10.0.0.1", true, "nothing"),
            ("local", "cifs", "//server/share", "", true, "nothing"),
            ("rexray/ebs", "", "", "", true, "nothing"),
            ("rexray/efs:latest", "", "", "", true, "nothing"),
            ("amazon-ecs-volume-plugin", "efs", "", "", true, "nothing"),
            ("NFS", "", "", "", true, "nothing"),
        ] {
            let text = str::to_owned;
            let volume = VolumeKind::Docker {
                driver: text(driver),
                kind: text(kind),
                device: text(device),
                options: text(options),
                is_shared,
            };
            assert_eq!(kept_with(volume, false), expected, "{driver} {kind} {device} {options} {is_shared}");
        }
    }

    #[test]
    fn volumes_that_go_with_the_task_that_are_its_own_or_of_the_network() {
        let own = "volume data, which each task has of its own";
        assert_eq!(kept_with(VolumeKind::Task, false), "nothing");
        assert_eq!(kept_with(VolumeKind::NetworkFileSystem, false), "nothing");
        assert_eq!(kept_with(VolumeKind::AtLaunch, false), own);
        assert_eq!(kept_with(VolumeKind::AtLaunch, true), "nothing");
        let mut cluster = testing::cluster("a i-1 db");
        let mut service = cluster.services.remove(&"db".into()).unwrap();
        let mut definition = cluster.task_definitions[&service.task_definition].clone();
        service.volume_configurations.insert("data".to_owned());
        assert_eq!(kept(&service, &definition).unwrap().to_string(), own);
        definition.volumes = vec![Volume { name: "data".to_owned(), kind: VolumeKind::AtLaunch, is_read_only: true }];
        assert_eq!(kept(&service, &definition), None);
    }
}
