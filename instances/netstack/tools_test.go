package netstack_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/vpclab/vpclab/instances"
	"github.com/vpclab/vpclab/instances/drivertest"
	"github.com/vpclab/vpclab/instances/netstack"
	"github.com/vpclab/vpclab/packet"
	"github.com/vpclab/vpclab/vswitch"
)

// result is what a program printed and how it ended.
type result struct {
	stdout, stderr string
	code           int
}

func run(t testing.TB, in instances.Instance, stdin string, argv ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var stdout, stderr bytes.Buffer
	code, err := in.Exec(ctx, argv, instances.IO{Stdin: strings.NewReader(stdin), Stdout: &stdout, Stderr: &stderr})
	if err != nil {
		t.Fatalf("%v: %v\n%s%s", argv, err, &stdout, &stderr)
	}
	return result{stdout.String(), stderr.String(), code}
}

// tool is one case: a command line on instance a, and what comes of it. Outputs are regular expressions for the whole.
type tool struct {
	argv   string
	stdin  string
	stdout string
	stderr string
	code   int
}

func (c tool) check(t *testing.T, p *drivertest.Pair) {
	t.Run(c.argv, func(t *testing.T) {
		got := run(t, p.A, c.stdin, strings.Fields(c.argv)...)
		if got.code != c.code || !matches(c.stdout, got.stdout) || !matches(c.stderr, got.stderr) {
			t.Fatalf("exit %d, want %d\nstdout %q\n  want %q\nstderr %q\n  want %q", got.code, c.code, got.stdout, c.stdout, got.stderr, c.stderr)
		}
	})
}

func matches(pattern, text string) bool {
	return regexp.MustCompile(`\A(?s:` + pattern + `)\z`).MatchString(text)
}

func neighboursOnly(_ vswitch.Port, f *vswitch.Frame) bool {
	var h packet.Headers
	h.Parse(f.Buf)
	return h.Kind == packet.ARP || h.ICMPType == 135 || h.ICMPType == 136
}

func TestPing(t *testing.T) {
	drivertest.CheckLeaks(t)
	p := drivertest.NewPair(t, netstack.New())
	for _, c := range []tool{
		{argv: "ping -c 2 -i 0.01 b", stdout: `PING b \(10\.9\.0\.5\) 56\(84\) bytes of data\.\n` +
			`64 bytes from b \(10\.9\.0\.5\): icmp_seq=1 ttl=64 time=[\d.]+ ms\n64 bytes from b \(10\.9\.0\.5\): icmp_seq=2 ttl=64 time=[\d.]+ ms\n` +
			`\n--- b ping statistics ---\n2 packets transmitted, 2 received, 0% packet loss, time \d+ms\nrtt min/avg/max/mdev = [\d.]+/[\d.]+/[\d.]+/[\d.]+ ms\n`},
		{argv: "ping -c1 -s 8 10.9.0.5", stdout: `PING 10\.9\.0\.5 \(10\.9\.0\.5\) 8\(36\) bytes.*16 bytes from 10\.9\.0\.5: icmp_seq=1 ttl=64.*`},
		{argv: "ping fd00:9::5 -c1", stdout: `PING fd00:9::5 \(fd00:9::5\) 56\(104\) bytes.*64 bytes from fd00:9::5: icmp_seq=1 ttl=64.*`},
		{argv: "ping -qc1 -I 10.9.0.4 b", stdout: `PING b \(10\.9\.0\.5\) 56\(84\) bytes of data\.\n\n--- b ping statistics ---\n1 packets transmitted, 1 received.*`},
		{argv: "ping -c1 localhost", stdout: `PING localhost \(127\.0\.0\.1\).*1 received.*`},
		{argv: "ping -6 -c1 localhost", stdout: `PING localhost \(::1\).*1 received.*`},
		{argv: "ping -c1 a", stdout: `.*1 received.*`},
		{argv: "ping nobody", stderr: "ping: nobody: Name or service not known\n", code: 2},
		{argv: "ping -6 b", stderr: "ping: b: Name or service not known\n", code: 2},
		{argv: "ping", stderr: "(?s).*usage: ping.*", code: 2},
		{argv: "ping -c 0 b", stderr: "ping: -c 0: want a number from 1 to .*\n", code: 2},
		{argv: "ping -i x b", stderr: "ping: -i x: want seconds, more than 0\n", code: 2},
		{argv: "ping -Z b", stderr: "ping: unknown option -Z\nusage.*", code: 2},
		{argv: "ping -c1 -I 10.9.0.5 b", stdout: "PING.*0 received.*", stderr: "ping: .*cannot assign requested address.*\n", code: 2},
	} {
		c.check(t, p)
	}
	p.Cable.SetFilter(neighboursOnly)
	tool{argv: "ping -c2 -i0.01 -W0.1 b", stdout: `PING b .*` +
		"\n\n--- b ping statistics ---\n2 packets transmitted, 0 received, 100% packet loss, time \\d+ms\n", code: 1}.check(t, p)
	tool{argv: "ping -w0.1 b", stdout: `.*1 packets transmitted, 0 received, 100% packet loss.*`, code: 1}.check(t, p)
	p.Cable.SetFilter(func(vswitch.Port, *vswitch.Frame) bool { return false })
	p.B.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	var out bytes.Buffer
	if _, err := p.A.Exec(ctx, []string{"ping", "10.9.0.77"}, instances.IO{Stdout: &out}); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if !strings.Contains(out.String(), "0 received") { // the statistics come also when it is interrupted
		t.Errorf("%s", &out)
	}
}

func TestNetcat(t *testing.T) {
	drivertest.CheckLeaks(t)
	p := drivertest.NewPair(t, netstack.New())
	for _, c := range []tool{
		{argv: "nc b 80", stdin: "hello", stdout: "hello"},
		{argv: "nc fd00:9::5 80", stdin: "hello", stdout: "hello"},
		{argv: "nc b 80", stdin: "GET / HTTP/1.0\r\n\r\n", stdout: `HTTP/1\.\d 200 OK\r\n.*\r\n\r\nb 10\.9\.0\.5:80\n`},
		{argv: "nc -u -w 1 b 53", stdin: "hello", stdout: "hello"},
		{argv: "nc -z b 80"},
		{argv: "nc -zv b 80", stderr: `Connection to b \(10\.9\.0\.5\) 80 port \[tcp/\*\] succeeded!\n`},
		{argv: "nc b 80 -vz -w1", stderr: `Connection to b .*succeeded!\n`},
		{argv: "nc -z b 81", code: 1},
		{argv: "nc -zv b 81", stderr: `nc: connect to b \(10\.9\.0\.5\) port 81 \(tcp\) failed: Connection refused\n`, code: 1},
		{argv: "nc b 81", stderr: `nc: connect to b .* failed: Connection refused\n`, code: 1},
		{argv: "nc -zv b 79-81", stderr: `nc: .* port 79 .* refused\nConnection to b .* 80 port .*\nnc: .* port 81 .* refused\n`},
		{argv: "nc -zuv -w1 b 53", stderr: `Connection to b \(10\.9\.0\.5\) 53 port \[udp/\*\] succeeded!\n`},
		{argv: "nc -zuv b 54", stderr: `nc: connect to b .* port 54 \(udp\) failed: Connection refused\n`, code: 1},
		{argv: "nc -p 40001 -s 10.9.0.4 -z b 80"},
		{argv: "nc -z nobody 80", stderr: "nc: getaddrinfo: nobody: Name or service not known\n", code: 1},
		{argv: "nc b", stderr: "nc: usage: nc.*", code: 1},
		{argv: "nc b 80-90", stderr: "nc: a range of ports needs -z\n", code: 1},
		{argv: "nc b x", stderr: "nc: port x: want 1 to 65535.*", code: 1},
		{argv: "nc b 0", stderr: "nc: port 0: want 1 to 65535.*", code: 1},
		{argv: "nc -w", stderr: "nc: option -w needs a value.*", code: 1},
		{argv: "nc -l 70000", stderr: "nc: port 70000: want.*", code: 1},
	} {
		c.check(t, p)
	}
	if got := run(t, p.B, "", "nc", "-l", "80"); got.code != 1 || got.stderr != "nc: Address already in use\n" {
		t.Errorf("%+v", got)
	}
	p.Cable.SetFilter(neighboursOnly)
	tool{argv: "nc -zv -w 0.2 b 80", stderr: `nc: connect to b .* port 80 \(tcp\) failed: Operation timed out\n`, code: 1}.check(t, p)
	tool{argv: "nc -zuv -w 0.2 b 53", stderr: `nc: connect to b .* port 53 \(udp\) failed: Operation timed out\n`, code: 1}.check(t, p)
}

// TestNetcatListens has nc at both ends, several times on the same port.
func TestNetcatListens(t *testing.T) {
	drivertest.CheckLeaks(t)
	p := drivertest.NewPair(t, netstack.New())
	for _, c := range []struct{ server, client string }{
		{"nc -lv 9000", "nc b 9000"},
		{"nc -lvp 9000", "nc b 9000"},
		{"nc -lv 10.9.0.55 9000", "nc 10.9.0.55 9000"},
		{"nc -6lv 9000", "nc fd00:9::5 9000"},
		{"nc -luv -w 0.3 9000", "nc -u -w 0.3 b 9000"},
		{"nc -lv 9000", "nc b 9000"},
	} {
		r, w := io.Pipe()
		var stdout bytes.Buffer
		done := make(chan int, 1)
		go func() {
			code, err := p.B.Exec(t.Context(), strings.Fields(c.server), instances.IO{
				Stdin: strings.NewReader("from the server"), Stdout: &stdout, Stderr: w,
			})
			if err != nil {
				code = -1
			}
			w.Close()
			done <- code
		}()
		line := make([]byte, 64)
		n, _ := r.Read(line) // it listens
		go io.Copy(io.Discard, r)
		got := run(t, p.A, "from the client", strings.Fields(c.client)...)
		if code := <-done; code != 0 || stdout.String() != "from the client" || got.stdout != "from the server" || got.code != 0 {
			t.Errorf("%s (%q): server exit %d, %q; client %+v", c.server, line[:n], code, &stdout, got)
		}
	}
}

func TestCurl(t *testing.T) {
	drivertest.CheckLeaks(t)
	p := drivertest.NewPair(t, netstack.New())
	l, err := p.B.Net().Listen("tcp", netip.AddrPortFrom(drivertest.B4, 8080))
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/missing", http.NotFound)
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "http://b/", http.StatusFound) })
	mux.HandleFunc("/post", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		io.WriteString(w, r.Method+" "+string(body)+" "+r.Header.Get("X-A")+" "+r.Host)
	})
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("/hangup", func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) })
	srv := &http.Server{Handler: mux}
	go srv.Serve(l)
	defer srv.Close()
	for _, c := range []tool{
		{argv: "curl http://b/", stdout: "b 10.9.0.5:80\n"},
		{argv: "curl b.lab", stdout: "b 10.9.0.5:80\n"},
		{argv: "curl -s http://[fd00:9::5]/x", stdout: `b \[fd00:9::5\]:80` + "\n"},
		{argv: "curl http://localhost/", stderr: `curl: \(7\) Failed to connect to localhost port 80 after \d+ ms: .*refused.*`, code: 7},
		{argv: "curl -I http://b/", stdout: `HTTP/1\.1 200 OK\r\n.*Content-Length: 14\r\n.*\r\n\r\n`},
		{argv: "curl -i http://b/", stdout: `HTTP/1\.1 200 OK\r\n.*\r\n\r\nb 10\.9\.0\.5:80\n`},
		{argv: `curl -so /dev/null -w %{http_code}-%{remote_ip}:%{remote_port}-%{size_download}\n http://b/`, stdout: "200-10.9.0.5:80-14\n"},
		{argv: "curl -s --interface 10.9.0.4 -w %{local_ip} http://b/ -o -", stdout: "b 10.9.0.5:80\n10.9.0.4"},
		{argv: "curl http://b/ http://b/", stdout: "b 10.9.0.5:80\nb 10.9.0.5:80\n"},
		{argv: "curl http://b:8080/missing", stdout: "404 page not found\n"},
		{argv: "curl -f http://b:8080/missing", stderr: `curl: \(22\) The requested URL returned error: 404\n`, code: 22},
		{argv: "curl -s -o /dev/null -w %{http_code} http://b:8080/moved", stdout: "302"},
		{argv: "curl -L http://b:8080/moved", stdout: "b 10.9.0.5:80\n"},
		{argv: "curl -d x=1 -d y=2 -H X-A:1 -H Host:other http://b:8080/post", stdout: "POST x=1&y=2 1 other"},
		{argv: "curl -X PUT http://b:8080/post", stdout: "PUT   b:8080"},
		{argv: "curl -m 0.2 http://b:8080/slow", stderr: `curl: \(28\) Operation timed out after \d+ milliseconds with 0 bytes received\n`, code: 28},
		{argv: "curl http://b:8080/hangup", stderr: `curl: \(52\) Empty reply from server\n`, code: 52},
		{argv: "curl http://b:81/", stderr: `curl: \(7\) Failed to connect to b port 81 after \d+ ms: Connection refused\n`, code: 7},
		{argv: "curl -s http://b:81/", code: 7},
		{argv: "curl -sS http://b:81/", stderr: `curl: \(7\).*`, code: 7},
		{argv: "curl http://nobody/", stderr: `curl: \(6\) Could not resolve host: nobody\n`, code: 6},
		{argv: "curl https://b/", stderr: `curl: \(1\) Protocol "https" not supported.*`, code: 1},
		{argv: "curl http://", stderr: `curl: \(3\) .*`, code: 3},
		{argv: "curl", stderr: `curl: \(2\) no URL specified\n`, code: 2},
		{argv: "curl --tlsv1.3 b", stderr: `curl: \(2\) unknown option --tlsv1\.3\n`, code: 2},
		{argv: "curl -o /etc/passwd b", stderr: `curl: \(2\) -o /etc/passwd: a netstack instance has no files.*`, code: 2},
	} {
		c.check(t, p)
	}
	p.Cable.SetFilter(neighboursOnly)
	tool{argv: "curl -m 0.2 http://b/", stderr: `curl: \(28\) Connection timed out after \d+ milliseconds\n`, code: 28}.check(t, p)
	tool{argv: "curl --connect-timeout=0.2 http://b/", stderr: `curl: \(28\) Connection timed out after \d+ milliseconds\n`, code: 28}.check(t, p)
}

// nameserver answers on b, port 53 of its second IPv4 address.
func nameserver(t *testing.T, p *drivertest.Pair) {
	at := netip.AddrPortFrom(drivertest.B4, 5353)
	pc, err := p.B.Net().ListenPacket("udp", at)
	if err != nil {
		t.Fatal(err)
	}
	l, err := p.B.Net().Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	h := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		r := new(dns.Msg).SetReply(q)
		_, overUDP := w.RemoteAddr().(*net.UDPAddr)
		switch name := q.Question[0].Name; {
		case name == "web.lab." && q.Question[0].Qtype == dns.TypeA:
			for _, s := range []string{"web.lab. 60 IN A 10.9.0.7", "web.lab. 60 IN A 10.9.0.8"} {
				rr, _ := dns.NewRR(s)
				r.Answer = append(r.Answer, rr)
			}
		case name == "big.lab." && overUDP:
			r.Truncated = true
		case name == "big.lab.":
			rr, _ := dns.NewRR(`big.lab. 60 IN TXT "over TCP"`)
			r.Answer = append(r.Answer, rr)
		case name == "5.0.9.10.in-addr.arpa." && q.Question[0].Qtype == dns.TypePTR:
			rr, _ := dns.NewRR("5.0.9.10.in-addr.arpa. 60 IN PTR b.lab.")
			r.Answer = append(r.Answer, rr)
		default:
			r.Rcode = dns.RcodeNameError
		}
		w.WriteMsg(r)
	})
	for _, srv := range []*dns.Server{{PacketConn: pc, Handler: h}, {Listener: l, Handler: h}} {
		started := make(chan struct{})
		srv.NotifyStartedFunc = func() { close(started) }
		go srv.ActivateAndServe()
		<-started
		t.Cleanup(func() { srv.Shutdown() })
	}
}

func TestDig(t *testing.T) {
	drivertest.CheckLeaks(t)
	p := drivertest.NewPair(t, netstack.New())
	nameserver(t, p)
	for _, c := range []tool{
		{argv: "dig @10.9.0.5 -p 5353 web.lab +short", stdout: "10.9.0.7\n10.9.0.8\n"},
		{argv: "dig +short -p 5353 @b A web.lab", stdout: "10.9.0.7\n10.9.0.8\n"},
		{argv: "dig @b -p 5353 web.lab", stdout: `;; opcode: QUERY, status: NOERROR, id: \d+\n.*;; ANSWER SECTION:\nweb\.lab\.\t60\tIN\tA\t10\.9\.0\.7\n.*;; SERVER: 10\.9\.0\.5#5353\(10\.9\.0\.5\) \(UDP\)\n;; MSG SIZE  rcvd: \d+\n\n`},
		{argv: "dig @b -p 5353 web.lab +tcp", stdout: `.*\(TCP\)\n.*`},
		{argv: "dig @b -p 5353 big.lab txt +short", stdout: `"over TCP"` + "\n"},
		{argv: "dig @b -p 5353 -x 10.9.0.5 +short", stdout: "b.lab.\n"},
		{argv: "dig @b -p 5353 -t AAAA web.lab", stdout: `.*status: NXDOMAIN.*`},
		{argv: "dig @b -p 5354 web.lab +tries=1", stdout: `;; communications error to 10\.9\.0\.5#5354: connection refused\n;; no servers could be reached\n`, code: 9},
		{argv: "dig web.lab", stdout: `;; no servers could be reached \(this instance has no nameserver.*`, code: 9},
		{argv: "dig @nobody web.lab", stderr: `dig: couldn't get address for 'nobody': not found\n`, code: 1},
		{argv: "dig", stderr: "dig: usage: dig.*", code: 1},
		{argv: "dig -p 0 x", stderr: "dig: -p 0: want a port.*", code: 1},
		{argv: "dig -t NONSENSE x", stderr: "dig: -t NONSENSE: unknown type\n", code: 1},
		{argv: "dig +fancy x", stderr: `dig: unknown option \+fancy; this dig has.*`, code: 1},
		{argv: "dig x y", stderr: "dig: y: one name at a time\n", code: 1},
		{argv: "dig x +tries=0", stderr: `dig: \+tries=0: want a number of attempts\n`, code: 1},
	} {
		c.check(t, p)
	}
	p.Cable.SetFilter(neighboursOnly)
	tool{argv: "dig @b web.lab +time=1 +tries=1", stdout: `;; communications error to 10\.9\.0\.5#53: operation timed out\n;; no servers could be reached\n`, code: 9}.check(t, p)
}

// TestNameserver has names resolved by the instance's own nameserver.
func TestNameserver(t *testing.T) {
	drivertest.CheckLeaks(t)
	spec := drivertest.Spec(t, "a", 9, drivertest.A4)
	spec.Nameservers = []netip.Addr{drivertest.A4}
	in := drivertest.Start(t, netstack.New(), spec)
	pc, err := in.Net().ListenPacket("udp", netip.AddrPortFrom(drivertest.A4, 53))
	if err != nil {
		t.Fatal(err)
	}
	started := make(chan struct{})
	srv := &dns.Server{PacketConn: pc, NotifyStartedFunc: func() { close(started) }, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		r := new(dns.Msg).SetReply(q)
		if q.Question[0].Qtype == dns.TypeA && q.Question[0].Name == "me." {
			rr, _ := dns.NewRR("me. 1 IN A 10.9.0.4")
			r.Answer = append(r.Answer, rr)
		}
		w.WriteMsg(r)
	})}
	go srv.ActivateAndServe()
	<-started
	defer srv.Shutdown()
	if got := run(t, in, "", "ping", "-c1", "me"); got.code != 0 || !strings.Contains(got.stdout, "PING me (10.9.0.4)") {
		t.Errorf("%+v", got)
	}
	if got := run(t, in, "", "ping", "-c1", "you"); got.code != 2 {
		t.Errorf("%+v", got)
	}
}

func TestUnknownProgram(t *testing.T) {
	drivertest.CheckLeaks(t)
	in := drivertest.Start(t, netstack.New(), drivertest.Spec(t, "a", 9, drivertest.A4))
	got := run(t, in, "", "bash", "-c", "true")
	want := "a: bash: program not found; a netstack instance has curl, dig, nc, ping; netns instances run any program of the host\n"
	if got != (result{"", want, 127}) {
		t.Errorf("%+v", got)
	}
	if _, err := in.Exec(t.Context(), nil, instances.IO{}); err == nil {
		t.Error("ran nothing")
	}
}

func TestSetHosts(t *testing.T) {
	drivertest.CheckLeaks(t)
	p := drivertest.NewPair(t, netstack.New())
	if err := p.A.SetHosts([]instances.Host{{Addr: drivertest.B4Second, Names: []string{"c"}}}); err != nil {
		t.Fatal(err)
	}
	if got := run(t, p.A, "", "curl", "http://c/"); got.stdout != "b 10.9.0.55:80\n" {
		t.Errorf("%+v", got)
	}
	if got := run(t, p.A, "", "curl", "http://b/"); got.code != 6 {
		t.Errorf("%+v", got)
	}
}

// TestCloseEndsPrograms closes an instance in which a program waits.
func TestCloseEndsPrograms(t *testing.T) {
	drivertest.CheckLeaks(t)
	in := drivertest.Start(t, netstack.New(), drivertest.Spec(t, "a", 9, drivertest.A4))
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := in.Exec(t.Context(), []string{"nc", "-lv", "9000"}, instances.IO{Stderr: w})
		done <- err
	}()
	r.Read(make([]byte, 64))
	go io.Copy(io.Discard, r)
	in.Close()
	w.Close()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}
