//! `quorate status`: every node by its own word.

use serde_json::{Value, json};

use crate::tools::nodes::{Nodes, Said};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    nodes: Nodes,
    /// One object, for programs.
    #[arg(long)]
    json: bool,
}

/// Exit status 1 if a node does not answer, or no leader is agreed on.
pub fn run(args: &Args) -> Result<(), String> {
    let said = args.nodes.ask_all()?;
    let newest = said.iter().filter_map(|said| said.number("commit")).max().unwrap_or(0);
    let leader = agreed(&said);
    if args.json {
        let nodes: Vec<Value> = said.iter().map(|said| in_json(said, newest)).collect();
        println!("{:#}", json!({ "leader": leader.clone().ok(), "nodes": nodes }));
    } else {
        print!("{}", table(&said, newest));
    }
    let silent: Vec<&str> =
        said.iter().filter_map(|said| said.status.as_ref().err()).map(|why| &why[..]).collect();
    match (leader, silent.is_empty()) {
        (Ok(_), true) => Ok(()),
        (Ok(_), false) => Err(silent.join("\n")),
        (Err(why), true) => Err(why),
        (Err(why), false) => Err(format!("{}\n{why}", silent.join("\n"))),
    }
}

/// The leader that all follow who answer and are in the latest epoch.
fn agreed(said: &[Said]) -> Result<u64, String> {
    let epoch = said.iter().filter_map(|said| said.number("epoch")).max();
    let epoch = epoch.ok_or("no node answers: nothing is known of the cluster")?;
    let of_epoch = said.iter().filter(|said| said.number("epoch") == Some(epoch));
    let mut leaders: Vec<u64> = of_epoch.filter_map(|said| said.number("leader")).collect();
    leaders.dedup();
    match leaders[..] {
        [leader] => Ok(leader),
        [] => match said.iter().find_map(|said| said.status.as_ref().ok()?["impasse"].as_str()) {
            Some(why) => Err(why.to_owned()),
            None => Err("there is no leader; a majority of the voters must run and reach each other".into()),
        },
        _ => Err("the nodes named follow different leaders: do they belong to one cluster?".into()),
    }
}

/// How far its state lies behind the newest commit that any node knows of.
fn lag(said: &Said, newest: u64) -> u64 {
    newest.saturating_sub(said.number("applied").unwrap_or(0))
}

fn in_json(said: &Said, newest: u64) -> Value {
    match &said.status {
        Ok(status) => {
            let mut value = status.clone();
            value["admin"] = said.door.at.to_string().into();
            value["lag"] = lag(said, newest).into();
            value
        }
        Err(why) => json!({ "admin": said.door.at.to_string(), "error": why }),
    }
}

fn table(said: &[Said], newest: u64) -> String {
    let mut text = format!(
        "{:>4}  {:<21}  {:<9}  {:>6}  {:>10}  {:>10}  {:>6}  {}\n",
        "node", "admin", "role", "epoch", "commit", "applied", "lag", "version"
    );
    for said in said {
        let Ok(status) = &said.status else {
            text += &format!("{:>4}  {:<21}  {}\n", "?", said.door.at.to_string(), "no answer");
            continue;
        };
        let number = |key| said.number(key).unwrap_or(0);
        let halted = status["halted"].as_str();
        text += &format!(
            "{:>4}  {:<21}  {:<9}  {:>6}  {:>10}  {:>10}  {:>6}  {}{}\n",
            number("node"),
            said.door.at.to_string(),
            role(status),
            number("epoch"),
            number("commit"),
            number("applied"),
            lag(said, newest),
            status["version"].as_str().unwrap_or("?"),
            halted.map(|why| format!("  halted: {why}")).unwrap_or_default(),
        );
    }
    text
}

fn role(status: &Value) -> &'static str {
    let own = status["members"].as_array().and_then(|all| all.iter().find(|m| m["id"] == status["node"]));
    match own.map(|own| own["role"].as_str()) {
        _ if status["leader"] == status["node"] => "leader",
        Some(Some("learner")) => "learner",
        None => "stranger",
        Some(_) if status["leader"].is_null() => "leaderless",
        Some(_) => "follower",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::http::Door;

    fn said(node: u64, leader: Option<u64>, epoch: u64) -> Said {
        let status = json!({ "node": node, "leader": leader, "epoch": epoch, "applied": 4, "version": "1",
            "members": [{ "id": 1, "role": "voter" }, { "id": 2, "role": "voter" }] });
        Said { door: Door::plain("127.0.0.1:1".parse().unwrap()), status: Ok(status) }
    }

    #[test]
    fn the_latest_epoch_says_who_leads() {
        assert_eq!(agreed(&[said(1, Some(1), 3), said(2, Some(2), 4)]), Ok(2));
        assert!(agreed(&[said(1, Some(1), 4), said(2, Some(2), 4)]).unwrap_err().contains("different"));
        assert!(agreed(&[said(1, None, 4)]).unwrap_err().contains("no leader"));
        let mut stuck = said(2, None, 4);
        stuck.status.as_mut().unwrap()["impasse"] = "nobody can lead: why".into();
        assert_eq!(agreed(&[said(1, None, 4), stuck]).unwrap_err(), "nobody can lead: why");
        let dead = Said { door: Door::plain("127.0.0.1:1".parse().unwrap()), status: Err("refused".into()) };
        assert!(agreed(std::slice::from_ref(&dead)).unwrap_err().contains("no node answers"));
        let text = table(&[said(1, Some(2), 4), said(2, Some(2), 4), dead], 9);
        assert!(text.contains("follower") && text.contains("leader") && text.contains("no answer"), "{text}");
        assert_eq!(in_json(&said(1, None, 4), 9)["lag"], 5);
    }
}
