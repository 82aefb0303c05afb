//go:build linux

package e2e

import (
	"bufio"
	"compress/gzip"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vpclab/vpclab/api/agent"
)

// lines that up has to print of three-tier: each test, the summary, and records of what the tests sent.
var firstOutput = []string{
	`(?m)^ok +guest-1\[10\.0\.1\.66\] +web-1\[10\.0\.1\.10\]:80 +ACCEPT +web ingress: http from anywhere +lab\.yaml:10$`,
	`(?m)^ok +web-1\[10\.0\.1\.10\] +app-1\[10\.0\.2\.10\]:8080 +ACCEPT +app ingress: tcp 8080 from web +lab\.yaml:11$`,
	`(?m)^ok +app-1\[10\.0\.2\.10\] +db-1\[10\.0\.2\.20\]:5432 +ACCEPT +db ingress: postgres from app +lab\.yaml:12$`,
	`(?m)^ok +web-1\[10\.0\.1\.10\] +db-1\[10\.0\.2\.20\]:5432 +REJECT +db ingress: no rule +lab\.yaml:12$`,
	`(?m)^ok +an open connection outlives its rule +4 steps$`,
	`(?m)^5 passed in .*; rules used: 3 of 3$`,
	`(?m)^TIME +AT +DIR +SOURCE +DESTINATION +ACTION +PKTS +BYTES +FLAGS +RULE$`,
	`web-1 +ingress +guest-1\[10\.0\.1\.66\]:\d+ +web-1\[10\.0\.1\.10\]:80 +ACCEPT +\d+ +\d+ +SYN FIN +web: http from anywhere`,
	`app-1 +egress +app-1\[10\.0\.2\.10\]:8080 +web-1\[10\.0\.1\.10\]:\d+ +ACCEPT +\d+ +\d+ +SYN-ACK FIN +reply, tracked`,
	`db-1 +ingress +web-1\[10\.0\.1\.10\]:\d+ +db-1\[10\.0\.2\.20\]:5432 +REJECT +1 +60 +SYN +db: no rule`,
}

func checkFirstOutput(t *testing.T, out string) {
	t.Helper()
	for _, want := range firstOutput {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("up did not print %s", want)
		}
	}
	if t.Failed() {
		t.Logf("up printed:\n%s", out)
	}
}

// awsKey is how AWS names a flow-log file: Athena and every tool look for this form.
var awsKey = regexp.MustCompile(`^vpclab/AWSLogs/(\d{12})/vpcflowlogs/us-east-1/\d{4}/\d{2}/\d{2}/(\d{12})_vpcflowlogs_us-east-1_(fl-[0-9a-f]{17})_\d{8}T\d{4}Z_[0-9a-f]{8}\.log\.gz$`)

// published reads the files below a data directory: keys, and the lines of all without headers.
func (h *host) published() (keys, lines []string) {
	h.t.Helper()
	root := filepath.Join(h.dir, "flowlogs")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		key, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		keys = append(keys, filepath.ToSlash(key))
		text, err := gunzip(path)
		if err != nil {
			return err
		}
		header, rest, _ := strings.Cut(text, "\n")
		if header != "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status" {
			h.t.Errorf("%s begins with %q", key, header)
		}
		lines = append(lines, strings.Split(strings.TrimSuffix(rest, "\n"), "\n")...)
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return keys, lines
}

func gunzip(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(z)
	return string(text), err
}

// checkPublished looks at the files that three-tier's tests leave.
func (h *host) checkPublished() {
	h.t.Helper()
	keys, lines := h.published()
	if len(keys) == 0 {
		h.t.Errorf("no flow-log file was published")
	}
	for _, key := range keys {
		if m := awsKey.FindStringSubmatch(key); m == nil || m[1] != m[2] {
			h.t.Errorf("the file %s is not named as AWS names them", key)
		}
	}
	for _, want := range []string{
		`^2 123456789012 eni-[0-9a-f]{17} 10\.0\.1\.66 10\.0\.1\.10 \d+ 80 6 \d+ \d+ \d+ \d+ ACCEPT OK$`,
		`^2 123456789012 eni-[0-9a-f]{17} 10\.0\.2\.10 10\.0\.1\.10 8080 \d+ 6 \d+ \d+ \d+ \d+ ACCEPT OK$`,
		`^2 123456789012 eni-[0-9a-f]{17} 10\.0\.1\.10 10\.0\.2\.20 \d+ 5432 6 1 60 \d+ \d+ REJECT OK$`,
	} {
		found := false
		for _, l := range lines {
			found = found || regexp.MustCompile(want).MatchString(l)
		}
		if !found {
			h.t.Errorf("no published line is like %s:\n%s", want, strings.Join(lines, "\n"))
		}
	}
}

// checkFlowLogs reads the files with the program, of which an agent must run.
func (h *host) checkFlowLogs() {
	h.t.Helper()
	keys, lines := h.published()
	var files []agent.FlowLogFile
	h.json(&files, "flowlogs", "list")
	if len(files) != len(keys) {
		h.t.Errorf("flowlogs list has %d files, the directory %d", len(files), len(keys))
	}
	for _, f := range files {
		if info, err := os.Stat(f.Path); err != nil || info.Size() != f.Size || !strings.HasSuffix(filepath.ToSlash(f.Path), f.Key) {
			h.t.Errorf("flowlogs list has %+v: %v", f, err)
		}
	}
	got := map[string]bool{}
	for line := range strings.Lines(h.must("flowlogs", "read")) {
		got[strings.TrimSpace(line)] = true
	}
	for _, l := range lines {
		if !got[l] {
			h.t.Errorf("flowlogs read does not print %q", l)
		}
	}
}

// ends are the ways in which up comes to its end. Each takes a lab that is up and gives the exit code that it should have.
var ends = map[string]func(h *host, p *process) int{
	"Ctrl-C":  func(_ *host, p *process) int { p.signal(syscall.SIGINT); return 0 },
	"SIGTERM": func(_ *host, p *process) int { p.signal(syscall.SIGTERM); return 0 },
	"SIGHUP":  func(_ *host, p *process) int { p.signal(syscall.SIGHUP); return 0 },
	"signalled twice": func(_ *host, p *process) int { // as timeout(1) does: the process and its group
		p.signal(syscall.SIGINT)
		p.signal(syscall.SIGINT)
		return 0
	},
	"down": func(h *host, _ *process) int { h.must("down"); return 0 },
	"kill -9, then down": func(h *host, p *process) int {
		p.signal(syscall.SIGKILL)
		p.wait(patience)
		if len(h.footprint()) == 0 {
			h.t.Error("nothing is left after kill -9: then this test tests nothing")
		}
		h.must("down")
		return -1
	},
}

func TestFirstCommandAsRoot(t *testing.T) {
	needsRoot(t)
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			before := devices(t)
			p := h.up(three)
			spaces := h.spaces()
			if len(spaces) != 4 {
				t.Fatalf("%d namespaces, want 4", len(spaces))
			}
			for name, s := range spaces {
				if have := s.traces(t); len(have) < 2 {
					t.Errorf("%s: the running instance has only %q: this test would see nothing of what is left behind", name, have)
				}
			}
			// A program that runs on an instance is a process that could stay behind.
			sleeper := h.start(nil, "exec", "web-1", "--", "sleep", "600")
			eventually(t, "sleep runs in web-1", func() bool { return strings.Contains(strings.Join(spaces["web-1"].traces(t), "\n"), "sleep 600") })
			want := end(h, p)
			if code := p.wait(patience); code != want {
				t.Errorf("exit code %d, want %d", code, want)
			}
			sleeper.wait(patience)
			checkFirstOutput(t, p.out.String())
			h.gone(spaces, before)
			if want >= 0 {
				h.checkPublished()
			}
		})
	}
}

// TestFirstCommandAsAnybody is the same without privileges: the tests run as root give them up for it.
func TestFirstCommandAsAnybody(t *testing.T) {
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.giveUpRoot(false)
			before := devices(t)
			p := h.up(three)
			var st agent.Status
			h.json(&st, "status")
			for _, i := range st.Instances {
				if i.Driver != "netstack" || i.State != "running" {
					t.Errorf("%s: driver %s, %s", i.Name, i.Driver, i.State)
				}
			}
			if len(h.footprint()) < 2 {
				t.Errorf("a running agent's footprint is only %q", h.footprint())
			}
			want := end(h, p)
			if code := p.wait(patience); code != want {
				t.Errorf("exit code %d, want %d", code, want)
			}
			checkFirstOutput(t, p.out.String())
			h.gone(nil, before)
			if want < 0 {
				return
			}
			h.checkPublished()
			h.up(three, "--no-tests")
			h.checkFlowLogs()
		})
	}
}

// giveUpRoot lets commands run as a user without privileges, who owns the data directory.
func (h *host) giveUpRoot(xdg bool) {
	h.t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	const nobody = 65534
	h.as = &syscall.Credential{Uid: nobody, Gid: nobody}
	if err := os.Chown(h.dir, nobody, nobody); err != nil {
		h.t.Fatal(err)
	}
	h.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + h.dir, raceOptions}
	if xdg {
		h.env = append(h.env, "XDG_STATE_HOME="+h.dir)
	}
}

// TestDefaultDataDirectory is the first command as the README has it, without --data-dir.
func TestDefaultDataDirectory(t *testing.T) {
	for name, below := range map[string]string{"HOME": ".local/state/vpclab", "XDG_STATE_HOME": "vpclab"} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.giveUpRoot(name == "XDG_STATE_HOME")
			if h.as == nil {
				h.env = append(h.env, "HOME="+h.dir, "XDG_STATE_HOME="+map[bool]string{true: h.dir}[name == "XDG_STATE_HOME"])
			}
			cmd := h.command()
			cmd.Args = []string{program, "up", three}
			p := &process{t: t, cmd: cmd, ended: make(chan struct{})}
			cmd.Stdout, cmd.Stderr = &p.out, &p.err
			p.begin()
			p.await(&p.err, running)
			if _, err := os.Stat(filepath.Join(h.dir, below, "agent.sock")); err != nil {
				t.Error(err)
			}
			p.stop()
			checkFirstOutput(t, p.out.String())
		})
	}
}

// TestUpWithoutReader closes what up writes to: before it writes, and while it stays.
func TestUpWithoutReader(t *testing.T) {
	for name, lines := range map[string]int{"at once": 0, "up | head -1": 1, "while it stays": 28} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			cmd := h.command("up", three)
			p := &process{t: t, cmd: cmd, ended: make(chan struct{})}
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			cmd.Stdout, cmd.Stderr = w, &p.err
			p.begin()
			w.Close()
			text := bufio.NewReader(r)
			for range lines {
				if _, err := text.ReadString('\n'); err != nil {
					t.Fatalf("%v\n%s", err, p.err.String())
				}
			}
			if lines > 1 {
				p.await(&p.err, running)
			}
			r.Close()
			start := time.Now()
			if code := p.wait(patience); code != 0 && code != 141 {
				t.Errorf("exit code %d, %v after the reader had gone\n%s", code, time.Since(start), p.err.String())
			}
			if strings.Contains(p.err.String(), "broken pipe") {
				t.Errorf("nobody wants to read of it:\n%s", p.err.String())
			}
			if left := h.footprint(); len(left) > 0 {
				t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
			}
		})
	}
}
