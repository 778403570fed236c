//! Server and client over a real socket, in front of an engine without packets: what bad requests and bad clients get, and that
//! nobody else notices.
#![allow(clippy::unwrap_used, reason = "a test's helpers")]

mod guests;
mod methods;
mod pages;

use std::io::{Read as _, Write as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use xlat_config::{Config, EamEntry, Instance, Kind, Siit};
use xlat_control::api::{Changes, Counter, Eam, Status, Translator};
use xlat_control::live::Live;
use xlat_control::peers::{Messages, Peers};
use xlat_control::{
    About, Answer, ByKernel, Change, Client, ClientError, Daemon, Edit, Error, capture, events, listen, path,
    server,
};
use xlat_engine::{Engine, EngineOptions};
use xlat_translate::policy::Hops;

/// It has no stateful instance.
impl Peers for Fake {
    fn messages(&self, _instance: &str) -> Result<Messages, Error> {
        Err(Error::absent("none"))
    }

    fn receive(&self, _instance: &str, _message: &[u8]) -> Result<(), Error> {
        Err(Error::absent("none"))
    }

    fn advertise(&self, _instance: &str) -> Result<(), Error> {
        Err(Error::absent("none"))
    }

    fn counters(&self, _instance: &str) -> Vec<Counter> {
        Vec::new()
    }
}

/// More than sockets and buffers hold.
const EAMS: u32 = 100_000;

struct Fake {
    config: Arc<Mutex<Arc<Config>>>,
    engine: Arc<Engine>,
    /// What a change takes.
    delay: Duration,
}

impl Daemon for Fake {
    /// Nothing is dropped here: its lines end at once.
    fn capture(&self, wanted: capture::Wanted) -> Result<capture::Source, Error> {
        Ok(capture::channel(wanted).1)
    }

    /// Nothing happens here.
    fn events(&self, wanted: events::Wanted) -> Result<events::Source, Error> {
        Ok(events::channel(wanted).1)
    }

    /// There is no kernel's part, but for numbers that show.
    fn by_kernel(&self, place: usize) -> Answer<'_, ByKernel> {
        assert_eq!(place, 0);
        Box::pin(async { ByKernel { packets6: 5, bytes6: 600, packets4: 7, bytes4: 800 } })
    }

    fn peers(&self) -> &dyn Peers {
        self
    }

    fn log_counters(&self) -> Vec<Counter> {
        Vec::new()
    }

    fn interface_name(&self, _index: u32) -> Option<String> {
        None
    }

    fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.lock().unwrap())
    }

    fn engine(&self) -> &Engine {
        &self.engine
    }

    /// There is no file.
    fn reload(&self) -> Answer<'_, Result<(), Error>> {
        Box::pin(async { Err(Error::absent("there is no file")) })
    }

    fn about(&self) -> About {
        About::default()
    }

    fn ephemeral_ports(&self) -> (u16, u16) {
        (32768, 60999)
    }

    fn live(&self, after: Option<u64>) -> Answer<'_, Arc<Live>> {
        let number = after.map_or(1, |number| number + 1);
        Box::pin(async move { Arc::new(Live { number, ..Live::default() }) })
    }

    fn change(&self, edit: Edit, only_try: bool) -> Answer<'_, Result<(), Error>> {
        Box::pin(async move {
            tokio::time::sleep(self.delay).await;
            let mut config = Config::clone(&self.config());
            edit(&mut config)?;
            if only_try {
                return Ok(());
            }
            self.engine.reconfigure(&config).map_err(|error| Error::invalid(error.to_string()))?;
            *self.config.lock().unwrap() = Arc::new(config);
            Ok(())
        })
    }
}

/// A server of its own for a test, for as long as the test's process lives.
struct Server {
    device: String,
    config: Arc<Mutex<Arc<Config>>>,
}

impl Server {
    fn start(test: &str) -> Self {
        Self::start_with(test, false, Duration::ZERO)
    }

    /// One whose changes take a while.
    fn start_slow(test: &str, delay: Duration) -> Self {
        Self::start_with(test, false, delay)
    }

    /// One whose clock runs ahead to the next deadline as soon as it has nothing to do.
    fn start_hurried(test: &str) -> Self {
        Self::start_with(test, true, Duration::ZERO)
    }

    fn start_with(test: &str, hurried: bool, delay: Duration) -> Self {
        let device = format!("{test}{}", std::process::id());
        let eam = |number: u32| EamEntry {
            ipv6: ipnet::Ipv6Net::from(std::net::Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(number))),
            ipv4: ipnet::Ipv4Net::from(std::net::Ipv4Addr::from_bits(0x0A00_0000 + number)),
        };
        let siit = Siit { eamt: (0..EAMS).map(eam).collect(), ..Siit::default() };
        let instance = Instance {
            name: "a/b #%?".to_owned(),
            global: Default::default(),
            limits: Default::default(),
            routes: Vec::new(),
            output: Default::default(),
            kind: Kind::Siit(Box::new(siit)),
        };
        let config = Config { instances: vec![instance], ..Config::default() };
        let options = EngineOptions {
            hops: Hops::Decrement,
            mtu4: 1500,
            mtu6: 1500,
            secret: [7; 16],
            shards: 1,
            flows: None,
            peers: None,
        };
        let engine = Engine::new(&config, Default::default(), options).unwrap();
        let config = Arc::new(Mutex::new(Arc::new(config)));
        let fake = Fake { config: Arc::clone(&config), engine, delay };
        let listener = listen(&device).unwrap();
        std::thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().start_paused(hurried).build().unwrap();
            runtime.block_on(server::serve(listener, fake, own_uid())).unwrap();
        });
        Self { device, config }
    }

    fn client(&self) -> Client {
        Client::new(&self.device, own_uid())
    }

    fn connect(&self) -> UnixStream {
        let address = SocketAddr::from_abstract_name(format!("xlat.{}", self.device)).unwrap();
        let stream = UnixStream::connect_addr(&address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    /// What comes back for these bytes until the server closes.
    fn raw(&self, request: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        // A reset after the answer is an end too.
        let _ = stream.read_to_string(&mut answer);
        answer
    }
}

fn own_uid() -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").unwrap().uid()
}

fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

#[test]
fn bad_requests_get_one_form_of_error_and_change_nothing() {
    let server = Server::start("bad");
    let before = Arc::clone(&server.config.lock().unwrap());
    let post = |body: &str, length: usize| {
        format!(
            "POST /v1/changes HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        )
    };
    let whole = |body: &str| post(body, body.len());
    let put = |path: &str, body: &str| {
        format!(
            "PUT {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let name = "a%2Fb%20%23%25%3F";
    for (request, status, says) in [
        (get("/"), 404, "there is no GET /"),
        (get("/v2/status"), 404, "different releases"),
        (get("/v1/changes"), 405, "/v1/changes has no GET"),
        (get("/v1/instances/siit/nobody/global"), 404, "This namespace lacks an instance named 'nobody'."),
        (get(&format!("/v1/instances/nat64/{name}/global")), 404, "lacks an instance"),
        (get(&format!("/v1/instances/mapt/{name}/global")), 400, "unknown variant"),
        (get(&format!("/v1/instances/siit/{name}/sessions")), 404, "has no such table"),
        (get(&format!("/v1/instances/siit/{name}/pool4?protocol=sctp")), 400, "sctp"),
        (get(&format!("/v1/instances/siit/{name}/pool4?protokol=tcp")), 400, "protokol"),
        (get(&format!("/v1/instances/siit/{name}/address/300.1.1.1")), 400, "300.1.1.1"),
        (put("/v1/configuration", "[[instance]]\nname = 7"), 422, "the request:2:"),
        (put("/v1/configuration?dryrun=true", ""), 400, "dryrun"),
        (put("/v1/configuration", "[log]\nto = \"file:/var/log/flows\""), 422, "own file"),
        (put("/v1/configuration", " \n"), 400, "no configuration"),
        (put("/v1/configuration", "\u{fffd}"), 422, ""),
        (whole("{\"translator\": \"siit\", "), 400, "EOF"),
        (whole("[]"), 400, ""),
        (
            whole("{\"translator\": \"siit\", \"instance\": \"x\", \"changes\": [{\"change\": \"dance\"}]}"),
            400,
            "dance",
        ),
        (
            whole(
                "{\"translator\": \"siit\", \"instance\": \"a/b #%?\", \"changes\": [{\"change\": \"eamt-flush\"}, \
                 {\"change\": \"eamt-remove\", \"ipv4\": \"10.0.0.1/32\", \"someday\": true}]}",
            ),
            400,
            "changes[1]: unknown field `someday`",
        ),
        (
            whole("{\"translator\": \"siit\", \"instance\": \"x\", \"changes\": [], \"version\": 2}"),
            400,
            "version",
        ),
        (post("", 1 << 30), 400, "the request has 1073741824 bytes"),
        (
            whole(
                "{\"translator\": \"siit\", \"instance\": \"a/b #%?\", \"changes\": [\
                 {\"change\": \"eamt-flush\"}, {\"change\": \"denylist4-remove\", \"prefix\": \"192.0.2.0/24\"}]}",
            ),
            404,
            "changes[1]",
        ),
    ] {
        let answer = server.raw(&request);
        let line = request.lines().next().unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{line}: {answer}");
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        assert!(body.starts_with("{\"error\":{\"whose\":\"") && body.contains(says), "{line}: {answer}");
    }
    for garbage in ["", "\0\0\0\0", "GET", "GET / HTTP/9.9\r\n\r\n", &"A".repeat(1 << 20)] {
        let mut stream = server.connect();
        // The server may have had enough before the end.
        let _ =
            stream.write_all(garbage.as_bytes()).and_then(|()| stream.shutdown(std::net::Shutdown::Write));
        let _ = stream.read_to_end(&mut Vec::new());
    }
    assert!(Arc::ptr_eq(&before, &server.config.lock().unwrap()), "nothing was changed");
    assert_eq!(wait(server.client().get::<Status>("/v1/status")).unwrap().instances, 1);
}

#[test]
fn a_table_streams_past_a_client_that_does_not_read() {
    let server = Server::start("slow");
    let table = path(Translator::Siit, "a/b #%?", "eamt");
    let mut idle = Vec::new();
    for _ in 0..20 {
        let mut stream = server.connect();
        write!(stream, "GET {table} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        idle.push(stream);
    }
    let (count, last) = wait(async {
        let client = server.client();
        let mut rows = client.rows(&table).await.unwrap();
        let first: Eam = rows.next().await.unwrap().unwrap();
        assert_eq!(
            first.ipv4.addr(),
            std::net::Ipv4Addr::from_bits(0x0A00_0000 + EAMS - 1),
            "the newest first"
        );
        // A change goes on meanwhile, and does not show in a table that is being read.
        let changes = vec![Change::EamtFlush];
        client
            .change(&Changes { translator: Translator::Siit, instance: "a/b #%?".to_owned(), changes })
            .await
            .unwrap();
        let (mut count, mut last) = (1, first);
        while let Some(row) = rows.next::<Eam>().await.unwrap() {
            (count, last) = (count + 1, row);
        }
        (count, last)
    });
    assert_eq!((count, last.ipv4.to_string()), (EAMS, "10.0.0.0/32".to_owned()));
    let mut rows = wait(server.client().rows(&table));
    assert!(wait(rows.as_mut().unwrap().next::<Eam>()).unwrap().is_none(), "flushed");
}

#[test]
fn without_a_daemon_it_is_said_so() {
    let error = wait(Client::new("nobody-is-here", own_uid()).get::<Status>("/v1/status")).unwrap_err();
    assert!(matches!(error, ClientError::Unreachable(_)), "{error}");
}

#[test]
fn a_daemon_that_does_not_answer_is_given_up() {
    let device = format!("mute{}", std::process::id());
    let address = SocketAddr::from_abstract_name(format!("xlat.{device}")).unwrap();
    // Connections wait in its queue.
    let _listener = UnixListener::bind_addr(&address).unwrap();
    let client = Client::new(&device, own_uid()).with_patience(Duration::from_millis(20));
    let changes = Changes { translator: Translator::Siit, instance: "x".to_owned(), changes: Vec::new() };
    let answers = [wait(client.get::<Status>("/v1/status")).map(drop), wait(client.change(&changes))];
    for (answer, millis) in answers.into_iter().zip([20, 200]) {
        let error = answer.unwrap_err();
        assert!(matches!(error, ClientError::Silent(time) if time.as_millis() == millis), "{error}");
    }
}

/// A daemon that is stopped accepts nobody: once its queue is full, a connection waits before its first byte.
#[test]
fn patience_ends_also_where_no_connection_is_accepted() {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, connect, listen, socket};
    let device = format!("full{}", std::process::id());
    let address = SocketAddrUnix::new_abstract_name(format!("xlat.{device}").as_bytes()).unwrap();
    let [full, waiting] = [(); 2].map(|()| socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap());
    bind(&full, &address).unwrap();
    listen(&full, 0).unwrap();
    connect(&waiting, &address).unwrap();
    let client = Client::new(&device, own_uid()).with_patience(Duration::from_millis(20));
    // In a thread of its own: a call that blocks would not let a timer end the test.
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || tell.send(wait(client.text("/v1/status"))));
    let answer = told.recv_timeout(Duration::from_secs(10)).unwrap();
    assert!(matches!(&answer, Err(ClientError::Silent(time)) if time.as_millis() == 20), "{answer:?}");
}

#[test]
fn a_stranger_in_the_daemons_place_is_not_believed() {
    let server = Server::start("who");
    if own_uid() == 0 {
        eprintln!("skipped: root is always believed");
        return;
    }
    let error = wait(Client::new(&server.device, own_uid() + 1).get::<Status>("/v1/status")).unwrap_err();
    assert!(matches!(error, ClientError::Stranger(_)), "{error}");
}

#[test]
fn a_configuration_is_shown_tried_and_replaced() {
    let server = Server::start("whole");
    let put = |query: &str, body: &str| {
        let head = format!("PUT /v1/configuration{query} HTTP/1.1\r\nHost: x\r\nConnection: close");
        server.raw(&format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
    };
    let show = || server.raw("GET /v1/configuration HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let two = "[[instance]]\nname = \"a\"\ntype = \"nat64\"\npool4 = [\"192.0.2.1\"]\n[instance.global]\npool6 = \"64:ff9b::/96\"\n\
               [[instance]]\nname = \"b\"\ntype = \"siit\"\n[instance.global]\npool6 = \"2001:db8:64::/96\"\n";
    let before = Arc::clone(&server.config.lock().unwrap());
    let tried = put("?dry-run=true", two);
    assert!(tried.starts_with("HTTP/1.1 200 ") && tried.contains("(NAT64)"), "{tried}");
    assert!(Arc::ptr_eq(&before, &server.config.lock().unwrap()), "tried only");
    let made = put("", two);
    assert_eq!(tried.split_once("\r\n\r\n").unwrap().1, made.split_once("\r\n\r\n").unwrap().1);
    assert_eq!(server.config.lock().unwrap().instances.len(), 2);
    let shown = show();
    let again = put("", shown.split_once("\r\n\r\n").unwrap().1);
    assert!(
        again.contains("content-length: 0") || again.ends_with("\r\n0\r\n\r\n"),
        "what is shown is what is: {again}"
    );
}

#[test]
fn a_packet_is_explained() {
    use xlat_control::api::Explanation;
    let server = Server::start("why");
    let post = |body: &str| {
        let head =
            "POST /v1/explain HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json";
        server.raw(&format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
    };
    // A UDP packet from 192.0.2.1 to 10.0.0.1, which has a mapping; its source has none.
    let packet = "4500001c00000000401100000a000002".replace("0a000002", "c0000201")
        + "0a00000100010002000800 00".replace(' ', "").as_str();
    let answer = post(&format!("{{\"packet\": \"{packet}\"}}"));
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    let explained: Explanation =
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"));
    assert!(!explained.steps.is_empty() && explained.verdict.reason.is_some(), "{answer}");
    for wrong in ["{}", "{\"packet\": \"\"}", "{\"packet\": \"4\"}", "{\"packet\": \"zz\"}"] {
        assert!(post(wrong).starts_with("HTTP/1.1 400 "), "{wrong}");
    }
}
