//! What others do while a client is at work: people at a console, applications, and instances that come and go. A simulation has
//! them do it at any moment, beside the API and past its faults and rate limits.

use crate::{
    Simulator, deployments, instances, life, moment::Moment, services, state::ScalableTarget, timeline::By,
    world::World,
};

/// What is not there can't be changed; then nothing happens, and the answer is false.
impl Simulator {
    /// Somebody sets a service's desired count.
    pub fn set_desired_count(&mut self, service: &str, count: u32) -> bool {
        self.on_active(service, |world, name| services::set_desired_count(world, name, count, By::Person))
    }

    /// Somebody deploys a service anew.
    pub fn deploy(&mut self, service: &str) -> bool {
        self.on_active(service, |world, name| {
            let definition = world.state.services[name].task_definition.clone();
            deployments::deploy(world, name, &definition);
        })
    }

    /// Somebody deletes a service, by force.
    pub fn delete_service(&mut self, service: &str) -> bool {
        self.on_active(service, |world, name| services::delete(world, name, By::Person))
    }

    /// Somebody sets a service's placement constraints: type and expression of each.
    pub fn set_placement_constraints(&mut self, service: &str, constraints: &[(&str, &str)]) -> bool {
        let constraints = owned(constraints);
        self.on_active(service, |world, name| {
            services::set_placement(world, name, None, Some(constraints));
        })
    }

    /// Somebody sets a service's placement strategy: type and field of each.
    pub fn set_placement_strategy(&mut self, service: &str, strategy: &[(&str, &str)]) -> bool {
        let strategy = owned(strategy);
        self.on_active(service, |world, name| {
            services::set_placement(world, name, Some(strategy), None);
        })
    }

    /// Somebody sets a tag of a service, or takes it off.
    pub fn set_service_tag(&mut self, service: &str, key: &str, value: Option<&str>) -> bool {
        let Some(arn) = self.world.state.services.get(service).map(|service| service.arn.clone()) else {
            return false;
        };
        self.set_tag(&arn, key, value)
    }

    /// Somebody sets a tag of the cluster, or takes it off.
    pub fn set_cluster_tag(&mut self, key: &str, value: Option<&str>) -> bool {
        let arn = self.world.state.cluster_arn.clone();
        self.set_tag(&arn, key, value)
    }

    fn set_tag(&mut self, arn: &str, key: &str, value: Option<&str>) -> bool {
        let Some(tags) = self.world.tags_mut(arn) else { return false };
        match value {
            Some(value) => drop(tags.insert(key.to_owned(), value.to_owned())),
            None => drop(tags.remove(key)),
        }
        self.world.remember();
        true
    }

    /// An application protects its task for so many minutes, by the agent's endpoint; none takes the protection off.
    pub fn protect_task(&mut self, task: &str, minutes: Option<u32>) -> bool {
        let now = self.world.now;
        let until = minutes.map(|minutes| Moment(now.0 + i64::from(minutes) * 60_000));
        let Some(known) = self.world.state.tasks.get_mut(task).filter(|task| task.wanted && task.service.is_some())
        else {
            return false;
        };
        known.protect(until, now, now);
        // A scale-in that protection held up may go on now.
        if let Some(service) = known.service.clone() {
            self.world.wake(&service);
        }
        self.world.remember();
        true
    }

    /// A task's process ends by itself.
    pub fn crash_task(&mut self, task: &str) -> bool {
        let is_running = self.world.state.tasks.get(task).is_some_and(|task| task.wanted);
        life::stop(&mut self.world, task, "EssentialContainerExited", "Essential container in task exited");
        self.world.remember();
        is_running
    }

    /// Somebody puts a custom attribute on a container instance, or takes it off.
    pub fn set_attribute(&mut self, instance: &str, name: &str, value: Option<&str>) -> bool {
        let Some(known) = self.world.state.instances.get_mut(instance) else { return false };
        if let Some(value) = value {
            known.put.insert(name.to_owned());
            known.attributes.insert(name.to_owned(), Some(value.to_owned()));
        } else {
            known.put.remove(name);
            known.attributes.remove(name);
        }
        known.version += 1;
        true
    }

    /// Somebody sets a container instance to DRAINING.
    pub fn drain_instance(&mut self, instance: &str) -> bool {
        self.on_instance(instance, |world, arn| instances::set_instance_status(world, arn, "DRAINING"))
    }

    /// A container instance is lost with its tasks.
    pub fn lose_instance(&mut self, instance: &str) -> bool {
        self.on_instance(instance, instances::take_instance)
    }

    /// A container instance's agent loses its connection, or has it back. Its tasks go on.
    pub fn connect_agent(&mut self, instance: &str, connected: bool) -> bool {
        self.on_instance(instance, |world, arn| {
            if let Some(instance) = world.state.instances.get_mut(arn) {
                instance.agent_connected = connected;
                instance.version += 1;
            }
            world.wake_daemons();
        })
    }

    /// A container instance joins, empty, of the kind of the first usable one; its ARN, if there is one to be like.
    pub fn join_instance(&mut self) -> Option<String> {
        let arn = instances::join_instance(&mut self.world);
        self.world.remember();
        arn
    }

    /// Somebody registers a service's desired count with Application Auto Scaling, which brings it into these bounds at once.
    pub fn register_scalable_target(&mut self, service: &str, minimum: u32, maximum: u32) -> bool {
        let target = ScalableTarget { minimum, maximum: maximum.max(minimum), scales_in: true, scales_out: true };
        self.on_active(service, |world, name| services::register_scalable_target(world, name, target))
    }

    /// ARNs of the container instances that are not INACTIVE.
    pub fn instances(&self) -> Vec<String> {
        let instances = self.world.state.instances.values().filter(|instance| instance.status != "INACTIVE");
        instances.map(|instance| instance.arn.clone()).collect()
    }

    fn on_active(&mut self, service: &str, does: impl FnOnce(&mut World, &str)) -> bool {
        let is_active = self.world.state.services.get(service).is_some_and(|service| service.status == "ACTIVE");
        if is_active {
            does(&mut self.world, service);
            self.world.remember();
        }
        is_active
    }

    fn on_instance(&mut self, instance: &str, does: impl FnOnce(&mut World, &str)) -> bool {
        let is_there = self.world.state.instances.get(instance).is_some_and(|known| known.status != "INACTIVE");
        if is_there {
            does(&mut self.world, instance);
            self.world.remember();
        }
        is_there
    }
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(kind, what)| ((*kind).to_owned(), (*what).to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{testing::Bench, timeline::By};

    const TWO: &str = "a i-1 web web\nb i-2 web\nc i-3\nservice web strategy=spread:instanceId";

    #[test]
    fn whoever_changes_a_count_is_told_in_order() {
        let mut bench = Bench::new(TWO);
        bench.update("web", json!({"desiredCount": 4}));
        assert!(bench.simulator.set_desired_count("web", 4));
        assert!(bench.simulator.register_scalable_target("web", 1, 3));
        assert!(!bench.simulator.set_desired_count("none", 4));
        let changes = &bench.simulator.timeline().services()["web"].count_changes;
        let told: Vec<_> = changes.iter().map(|change| (change.by.clone(), change.from, change.to)).collect();
        assert_eq!(told, [(By::Caller(String::new()), 3, 4), (By::Person, 4, 4), (By::AutoScaling, 4, 3)]);
    }

    #[test]
    fn a_person_changes_what_the_api_shows() {
        let mut bench = Bench::new(TWO);
        let arn = |id: &str| format!("arn:aws:ecs:us-east-1:111122223333:container-instance/default/{id}");
        assert!(bench.simulator.set_placement_constraints("web", &[("distinctInstance", "")]));
        assert!(bench.simulator.set_placement_strategy("web", &[("random", "")]));
        assert!(bench.simulator.set_service_tag("web", "owner", Some("me")));
        assert!(bench.simulator.set_cluster_tag("owner", Some("us")));
        assert!(bench.simulator.set_attribute(&arn("i-3"), "kind", Some("new")));
        assert!(bench.simulator.drain_instance(&arn("i-1")));
        assert!(bench.simulator.connect_agent(&arn("i-3"), false));
        assert!(bench.simulator.deploy("web"));
        let view = bench.simulator.service("web").unwrap();
        assert_eq!(view.placement_constraints, [("distinctInstance".to_owned(), String::new())]);
        assert_eq!(view.tags["owner"], "me");
        assert_eq!(bench.simulator.cluster_tags()["owner"], "us");
        assert_eq!(bench.simulator.instances_with_attribute("kind")[&arn("i-3")], "new");
        assert_eq!(bench.service("web")["deployments"].as_array().unwrap().len(), 2);
        let listed = bench.ecs("ListContainerInstances", &json!({"status": "DRAINING"})).unwrap();
        assert_eq!(listed["containerInstanceArns"], json!([arn("i-1")]));
        assert!(bench.simulator.set_service_tag("web", "owner", None));
        assert!(bench.simulator.service("web").unwrap().tags.is_empty());
        assert!(bench.simulator.lose_instance(&arn("i-2")));
        assert_eq!(bench.simulator.instances(), [arn("i-1"), arn("i-3")]);
    }

    #[test]
    fn an_application_protects_its_task_and_a_task_that_crashes_is_replaced() {
        let mut bench = Bench::new(TWO);
        let tasks: Vec<String> = bench.simulator.service("web").unwrap().tasks.into_keys().collect();
        for task in &tasks {
            assert!(bench.simulator.protect_task(task, Some(60)));
        }
        bench.update("web", json!({"desiredCount": 1}));
        bench.wait(120);
        assert_eq!(bench.simulator.service("web").unwrap().tasks.len(), 3);
        assert!(bench.simulator.protect_task(&tasks[0], None));
        assert!(bench.simulator.protect_task(&tasks[1], None));
        bench.wait(120);
        assert_eq!(bench.simulator.service("web").unwrap().tasks.into_keys().collect::<Vec<_>>(), tasks[2..]);
        assert!(bench.simulator.crash_task(&tasks[2]));

        assert!(!bench.simulator.crash_task(&tasks[2]));
        bench.wait(120);
        assert_eq!(bench.simulator.service("web").unwrap().tasks.len(), 1);
    }
}
