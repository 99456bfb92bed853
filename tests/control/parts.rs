//! The control plane itself: what tests rely on when they break it or ask who did what.
//! **Owns:** the harness's promises. **Never:** Postrider's own.

use std::time::Duration;

use postrider_tests::cluster::{ControlPlane, Kubectl, Part};

#[tokio::test]
async fn an_api_server_that_was_away_comes_back_with_what_it_had() {
    let control_plane = ControlPlane::start().await.unwrap();
    let namespace = control_plane.namespace("kept").await.unwrap();
    let ask = async || {
        let output =
            control_plane.kubectl().output(&["get", "ns", "--request-timeout=2s"], "").await.unwrap();
        output.status.success()
    };
    control_plane.pause(Part::ApiServer).await.unwrap();
    assert!(!ask().await, "a paused one answers");
    control_plane.resume(Part::ApiServer).await.unwrap();
    control_plane.until_ready().await.unwrap();
    control_plane.kill(Part::ApiServer).await.unwrap();
    assert!(!ask().await, "a killed one answers");
    control_plane.start_again(Part::ApiServer).await.unwrap();
    control_plane.kubectl().run(&["get", "namespace", &namespace]).await.unwrap();
    let folder = control_plane.folder().to_owned();
    drop(control_plane);
    postrider_tests::wait::until("the folder to be gone", Duration::from_secs(30), || !folder.exists())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_deployment_gets_pods_and_loses_them_with_its_owner() {
    let control_plane = ControlPlane::shared().await.unwrap();
    let namespace = control_plane.namespace("owned").await.unwrap();
    let kubectl = control_plane.kubectl();
    let deployment = format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: d, namespace: {namespace}}}\nspec:\n  replicas: 2\n  \
         selector: {{matchLabels: {{app: d}}}}\n  template:\n    metadata: {{labels: {{app: d}}}}\n    spec: {{containers: \
         [{{name: c, image: none}}]}}\n"
    );
    kubectl.apply(&deployment).await.unwrap();
    let pods = |count: usize| {
        let arguments = ["pods", "--namespace", &namespace].map(str::to_owned);
        let kubectl = kubectl.clone();
        async move {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let has = |list: &serde_json::Value| (list["items"].as_array()?.len() == count).then_some(());
            kubectl.until(&format!("{count} pods"), Duration::from_secs(60), &arguments, has).await.unwrap();
        }
    };
    pods(2).await;
    kubectl.run(&["delete", "deployment", "d", "--namespace", &namespace]).await.unwrap();
    pods(0).await;
}

#[tokio::test]
async fn a_service_account_may_do_what_its_role_says_and_the_books_tell() {
    let control_plane = ControlPlane::shared().await.unwrap();
    let namespace = control_plane.namespace("roles").await.unwrap();
    let kubectl = control_plane.kubectl();
    kubectl.run(&["create", "serviceaccount", "reader", "-n", &namespace]).await.unwrap();
    kubectl
        .run(&["create", "role", "reader", "--verb=get,list", "--resource=configmaps", "-n", &namespace])
        .await
        .unwrap();
    let account = format!("--serviceaccount={namespace}:reader");
    kubectl
        .run(&["create", "rolebinding", "reader", "--role=reader", &account, "-n", &namespace])
        .await
        .unwrap();
    let kubeconfig = control_plane.kubeconfig_of(&namespace, "reader").await.unwrap();
    let reader = Kubectl::new(kubeconfig);
    reader.run(&["get", "configmaps", "-n", &namespace]).await.unwrap();
    let refused = reader.run(&["create", "configmap", "x", "-n", &namespace]).await.unwrap_err();
    assert!(format!("{refused:#}").contains("forbidden"), "{refused:#}");

    let user = format!("system:serviceaccount:{namespace}:reader");
    let requests = control_plane.requests().unwrap();
    let of = |verb: &str| {
        requests
            .iter()
            .filter(|request| {
                request.user == user && request.verb == verb && request.resource == "configmaps"
            })
            .map(|request| request.code)
            .collect::<Vec<_>>()
    };
    assert_eq!((of("list"), of("create")), (vec![200], vec![403]));

    let ann = control_plane.kubeconfig_for("ann", &["auditors"]).await.unwrap();
    let told = Kubectl::new(ann).run(&["auth", "whoami"]).await.unwrap();
    assert!(told.contains("ann") && told.contains("auditors"), "{told}");
}
