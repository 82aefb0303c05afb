package netns_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vpclab/vpclab/instances"
	"github.com/vpclab/vpclab/instances/drivertest"
	"github.com/vpclab/vpclab/instances/netns"
	"golang.org/x/sys/unix"
)

// victimEnv makes this test's program the process that TestCleanup kills.
const victimEnv = "NETNS_TEST_VICTIM"

func TestMain(m *testing.M) {
	netns.ChildMain()
	if dir := os.Getenv(victimEnv); dir != "" {
		victim(dir)
	}
	os.Exit(m.Run())
}

func needsRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Skip("needs /dev/net/tun")
	}
}

// checkHost fails the test if namespaces or mounts of ours are left, or processes in them.
func checkHost(t testing.TB) {
	t.Helper()
	drivertest.CheckLeaks(t)
	before := leftovers(t)
	t.Cleanup(func() {
		if after := leftovers(t); !slices.Equal(after, before) {
			t.Errorf("left behind: %q, before: %q", after, before)
		}
	})
}

// leftovers are the names of namespaces of this test's instances, and the mounts that hold them.
func leftovers(t testing.TB) (found []string) {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, ourNames()) {
			found = append(found, line)
		}
	}
	names, _ := filepath.Glob("/run/netns/*" + ourNames() + "*")
	return append(found, names...)
}

// ourNames is what the names of all instances of this process have in common; see drivertest.Spec.
func ourNames() string { return fmt.Sprintf("vpclab-%06x", uint32(os.Getpid())&0xffffff) }

func TestDriver(t *testing.T) {
	needsRoot(t)
	checkHost(t)
	drivertest.Run(t, netns.New())
}

func start(t testing.TB, d *netns.Driver, addrs ...netip.Addr) instances.Instance {
	t.Helper()
	return drivertest.Start(t, d, drivertest.Spec(t, "web-1", 7, addrs...))
}

// sh runs a shell command in the instance.
func sh(t testing.TB, in instances.Instance, script string) (out string, code int) {
	t.Helper()
	var b bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	code, err := in.Exec(ctx, []string{"sh", "-c", script}, instances.IO{Stdout: &b, Stderr: &b})
	if err != nil {
		t.Fatalf("%s: %v", script, err)
	}
	return b.String(), code
}

func TestInside(t *testing.T) { byEachWay(t, testInside) }

func testInside(t *testing.T, d *netns.Driver) {
	in := start(t, d, drivertest.A4, drivertest.A6)
	for script, want := range map[string]string{
		"hostname": "web-1\n",
		"cat /proc/net/dev | tail -n +3 | tr -d ' ' | cut -d: -f1 | sort": "eth0\nlo\n",
		"ls /sys/class/net":                                          "eth0\nlo\n",
		"cat /sys/class/net/eth0/address":                            "02:00:00:09:00:07\n",
		"cat /sys/class/net/eth0/mtu":                                "1500\n",
		"cat /proc/sys/net/ipv4/ip_forward":                          "0\n",
		"cat /proc/sys/net/ipv6/conf/eth0/accept_ra":                 "0\n",
		"cat /etc/hosts | tail -n 2":                                 "10.9.0.4\ta\n10.9.0.5\tb b.lab\n",
		"ip -4 -o addr show eth0 | awk '{print $4}'":                 "10.9.0.4/24\n",
		"ip -6 -o addr show eth0 scope global | awk '{print $4,$6}'": "fd00:9::4/64 global\n",
		"ip -6 addr show tentative":                                  "",
		"ip route":                                                   "default via 10.9.0.1 dev eth0 onlink \n10.9.0.0/24 dev eth0 proto kernel scope link src 10.9.0.4 \n",
		"ip -6 route show default | cut -d' ' -f1-5":                 "default via fe80:ec2::1 dev eth0\n",
		"getent hosts b.lab | awk '{print $1}'":                      "10.9.0.5\n",
		"ping -c1 -W2 localhost >/dev/null && echo up":               "up\n",
		"readlink /proc/self/ns/net | cut -c1-4":                     "net:\n",
	} {
		if _, err := exec.LookPath(strings.Fields(script)[0]); err != nil {
			t.Logf("no %s on this host", script)
			continue
		}
		if out, code := sh(t, in, script); out != want || code != 0 {
			t.Errorf("%s: %q, exit %d; want %q", script, out, code, want)
		}
	}
	// The host sees none of it.
	if data, err := os.ReadFile("/etc/hosts"); err == nil && strings.Contains(string(data), "b.lab") {
		t.Error("the host's hosts file was changed")
	}
	info := in.Info()
	way, err := d.Way()
	prefix := map[netns.Way]string{netns.ByRoot: "/run/netns/vpclab-", netns.ByHelper: "/proc/"}[way]
	if err != nil || !strings.HasPrefix(info["netns"], prefix) || info["made by"] != string(way) {
		t.Errorf("%v, %v", info, err)
	}
	var fs syscall.Statfs_t
	if err := syscall.Statfs(info["netns"], &fs); err != nil || fs.Type != unix.NSFS_MAGIC {
		t.Errorf("%s is no namespace: %v", info["netns"], err)
	}
}

func TestWithoutIPv6(t *testing.T) { byEachWay(t, testWithoutIPv6) }

func testWithoutIPv6(t *testing.T, d *netns.Driver) {
	in := start(t, d, drivertest.A4)
	if out, _ := sh(t, in, "cat /proc/net/if_inet6 | grep -c eth0"); out != "0\n" {
		t.Errorf("%q", out)
	}
}

func TestExec(t *testing.T) { byEachWay(t, testExec) }

func testExec(t *testing.T, d *netns.Driver) {
	in := start(t, d, drivertest.A4)
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "not-a-program"), []byte("\x00\x01"), 0o755)
	os.WriteFile(filepath.Join(dir, "data"), []byte("x"), 0o644)
	for _, test := range []struct {
		name   string
		argv   []string
		stdin  string
		env    []string
		stdout string
		stderr string
		code   int
	}{
		{name: "success", argv: []string{"true"}},
		{name: "exit code", argv: []string{"sh", "-c", "exit 42"}, code: 42},
		{name: "signal", argv: []string{"sh", "-c", "kill -TERM $$"}, code: 128 + int(syscall.SIGTERM)},
		{name: "stdin", argv: []string{"cat"}, stdin: "typed", stdout: "typed"},
		{name: "stderr", argv: []string{"sh", "-c", "echo oops >&2"}, stderr: "oops\n"},
		{name: "arguments", argv: []string{"printf", "%s|", "a b", "", "c"}, stdout: "a b||c|"},
		{name: "environment", argv: []string{"/bin/sh", "-c", "echo $X$VPCLAB_ENTER"}, env: []string{"X=1"}, stdout: "1\n"},
		{name: "directory", argv: []string{"pwd"}, stdout: dir + "\n"},
		{name: "descriptors", argv: []string{"sh", "-c", "test -e /proc/self/fd/3 && echo open; true"}},
		{name: "unread input", argv: []string{"true"}, stdin: strings.Repeat("x", 1<<20)},
		{name: "not found", argv: []string{"no-such-program"}, stderr: "no-such-program", code: 127},
		{name: "path not found", argv: []string{"/no/such/program"}, stderr: "/no/such/program", code: 127},
		{name: "no program", argv: []string{"./not-a-program"}, stderr: "not-a-program", code: 126},
		{name: "not executable", argv: []string{"./data"}, stderr: "permission denied", code: 126},
	} {
		t.Run(test.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			stdio := instances.IO{Stdin: strings.NewReader(test.stdin), Stdout: &stdout, Stderr: &stderr, Env: test.env, Dir: dir}
			code, err := in.Exec(t.Context(), test.argv, stdio)
			if err != nil || code != test.code {
				t.Fatalf("exit %d, %v; want %d", code, err, test.code)
			}
			if stdout.String() != test.stdout || !strings.Contains(stderr.String(), test.stderr) || test.stderr == "" && stderr.Len() > 0 {
				t.Fatalf("stdout %q, stderr %q", &stdout, &stderr)
			}
		})
	}
	if _, err := in.Exec(t.Context(), nil, instances.IO{}); err == nil {
		t.Error("ran nothing")
	}
}

func TestExecCancelled(t *testing.T) { byEachWay(t, testExecCancelled) }

func testExecCancelled(t *testing.T, d *netns.Driver) {
	in := start(t, d, drivertest.A4)
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	go func() {
		io.ReadFull(r, make([]byte, 6)) // "ready\n": the grandchild runs, too
		cancel()
		io.Copy(io.Discard, r)
	}()
	_, err := in.Exec(ctx, []string{"sh", "-c", "sleep 1000 & echo ready; wait"}, instances.IO{Stdout: w})
	w.Close()
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

// TestCloseKills has programs that ignore requests and have left their group.
func TestCloseKills(t *testing.T) { byEachWay(t, testCloseKills) }

func testCloseKills(t *testing.T, d *netns.Driver) {
	in := start(t, d, drivertest.A4)
	marker := fmt.Sprint(100000 + os.Getpid())
	sh(t, in, "trap '' TERM HUP; setsid sleep "+marker+" >/dev/null 2>&1 &")
	awaitProcess(t, "sleep", marker)
	done := make(chan int, 1)
	r, w := io.Pipe()
	go func() {
		code, _ := in.Exec(t.Context(), []string{"sh", "-c", "echo ready; sleep 1000"}, instances.IO{Stdout: w})
		w.Close()
		done <- code
	}()
	io.ReadFull(r, make([]byte, 6))
	go io.Copy(io.Discard, r)
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if code := <-done; code != 128+int(syscall.SIGKILL) {
		t.Errorf("exit %d", code)
	}
	if pids := processesOf("sleep", marker); len(pids) > 0 {
		t.Errorf("still there: %v", pids)
	}
}

// processesOf lists the processes with a command line.
func processesOf(argv ...string) (pids []string) {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range files {
		if text, err := os.ReadFile(path); err == nil && string(text) == strings.Join(argv, "\x00")+"\x00" {
			pids = append(pids, filepath.Base(filepath.Dir(path)))
		}
	}
	return pids
}

func awaitProcess(t testing.TB, argv ...string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); len(processesOf(argv...)) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%q does not run", argv)
		}
	}
}

func TestSetHosts(t *testing.T) { byEachWay(t, testSetHosts) }

func testSetHosts(t *testing.T, d *netns.Driver) {
	in := start(t, d, drivertest.A4)
	// A program that runs meanwhile sees the change.
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := in.Exec(t.Context(), []string{"sh", "-c", "while read x; do grep -c new-1 /etc/hosts; done"}, instances.IO{Stdin: inR, Stdout: outW})
		done <- err
	}()
	ask := func() string {
		io.WriteString(inW, "go\n")
		b := make([]byte, 2)
		io.ReadFull(outR, b)
		return string(b)
	}
	if got := ask(); got != "0\n" {
		t.Errorf("before: %q", got)
	}
	if err := in.SetHosts([]instances.Host{{Addr: drivertest.B4, Names: []string{"new-1"}}}); err != nil {
		t.Fatal(err)
	}
	if got := ask(); got != "1\n" {
		t.Errorf("after: %q", got)
	}
	inW.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if out, _ := sh(t, in, "tail -n 1 /etc/hosts; grep -c b.lab /etc/hosts"); out != "10.9.0.5\tnew-1\n0\n" {
		t.Errorf("%q", out)
	}
	in.Close()
	if err := in.SetHosts(nil); err == nil {
		t.Error("a closed instance has hosts")
	}
}

// TestCurl has the host's own curl ask a server of another instance, by name.
func TestCurl(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skipf("needs curl: %v", err)
	}
	byEachWay(t, testCurl)
}

func testCurl(t *testing.T, d *netns.Driver) {
	p := drivertest.NewPair(t, d)
	if out, code := sh(t, p.A, "curl -s -m 10 http://b.lab/"); out != "b 10.9.0.5:80\n" || code != 0 {
		t.Errorf("%q, exit %d", out, code)
	}
	if out, code := sh(t, p.A, "curl -sS -m 10 http://b:81/"); code != 7 {
		t.Errorf("%q, exit %d", out, code)
	}
}

func TestEnterFromElsewhere(t *testing.T) {
	needsRoot(t)
	checkHost(t)
	in := start(t, netns.New(), drivertest.A4)
	got, err := netns.EnterInfoOf(in.Info())
	if err != nil || got.Hostname != "web-1" || got.Hosts == "" || got.ResolvConf == "" {
		t.Fatalf("%+v, %v", got, err)
	}
	if _, err := netns.EnterInfoOf(map[string]string{"driver": "netstack"}); err == nil || !strings.Contains(err.Error(), "netstack") {
		t.Fatal(err)
	}
	if _, err := in.Exec(t.Context(), []string{"true"}, instances.IO{}); err != nil {
		t.Fatal(err)
	}
	os.Rename(got.Hosts, got.Hosts+".gone")
	if _, err := in.Exec(t.Context(), []string{"true"}, instances.IO{}); err == nil || !strings.Contains(err.Error(), "/etc/hosts") {
		t.Fatal(err)
	}
	os.Rename(got.Hosts+".gone", got.Hosts)
}

func TestNamespaceInUse(t *testing.T) {
	needsRoot(t)
	checkHost(t)
	s := drivertest.Spec(t, "first", 8, drivertest.A4)
	drivertest.Start(t, netns.New(), s)
	again := s
	again.Name = "second"
	if _, err := netns.New().Start(t.Context(), again); err == nil || !strings.Contains(err.Error(), "runs already") {
		t.Fatal(err)
	}
	again.RunDir = t.TempDir() // another agent, same id
	if _, err := netns.New().Start(t.Context(), again); err == nil || !strings.Contains(err.Error(), "belongs to another agent") {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(again.RunDir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	// Nor does the other's clean-up touch it.
	dir := filepath.Join(again.RunDir, s.ID)
	os.MkdirAll(dir, 0o755)
	for _, journal := range []map[string]any{
		{"instance": s.ID, "namespace": "vpclab-" + s.ID[len(s.ID)-8:], "id": map[string]int{"dev": 1, "ino": 2}},
		{"instance": s.ID, "namespace": "vpclab-" + s.ID[len(s.ID)-8:]},
	} {
		data, _ := json.Marshal(journal)
		os.MkdirAll(dir, 0o755)
		os.WriteFile(filepath.Join(dir, "netns.json"), data, 0o644)
		if err := netns.New().Cleanup(again.RunDir); err != nil {
			t.Fatal(err)
		}
		if len(leftovers(t)) == 0 {
			t.Fatal("the namespace of another agent was removed")
		}
	}
}

// TestCoveredName does to the names' directory what ip-netns(8) does, while an instance has a name in it.
func TestCoveredName(t *testing.T) {
	needsRoot(t)
	if os.Getenv(coveredEnv) == "" {
		inOwnMounts(t)
		return
	}
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil { // Go's poller keeps two descriptors from its first use on
		l.Close()
	}
	checkHost(t)
	in := start(t, netns.New(), drivertest.A4)
	const dir = "/run/netns"
	if err := unix.Mount(dir, dir, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	if n := len(leftovers(t)); n < 3 {
		t.Fatalf("%d names and mounts: this tests nothing", n)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if left := leftovers(t); len(left) != 0 {
		t.Fatalf("left behind: %q", left)
	}
}

const coveredEnv = "VPCLAB_TEST_COVERED"

// inOwnMounts runs the test in a process with mounts of its own: what it covers, others use at this moment.
func inOwnMounts(t *testing.T) {
	cmd := exec.Command("/proc/self/exe", "-test.run", "^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), coveredEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// victim starts instances and a program in one, says so and waits for its end.
func victim(dir string) {
	var in instances.Instance
	for i := range 2 {
		spec := instances.Spec{
			ID: fmt.Sprintf("i-%08x", uint32(os.Getppid())<<8|uint32(0xa0+i)), Name: "v", MAC: []byte{2, 0, 0, 0, 0, 1}, RunDir: dir,
			Prefixes: []netip.Prefix{netip.MustParsePrefix("10.9.0.4/24")}, Listen: []string{"tcp/80"},
		}
		var err error
		if in, err = netns.New().Start(context.Background(), spec); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	in.Exec(context.Background(), []string{"sh", "-c", "setsid sleep 1000 & echo ready $!; sleep 1000"}, instances.IO{Stdout: os.Stdout})
	os.Exit(1)
}

func TestCleanup(t *testing.T) {
	needsRoot(t)
	checkHost(t)
	dir := t.TempDir()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), victimEnv+"="+dir)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	var orphan int
	if _, err := fmt.Fscanf(r, "ready %d\n", &orphan); err != nil {
		t.Fatal(err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	if len(leftovers(t)) == 0 {
		t.Fatal("nothing was left behind: this tests nothing")
	}
	for range 2 {
		if err := netns.New().Cleanup(dir); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Kill(orphan, 0); err == nil {
		if state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", orphan)); err == nil && !strings.Contains(string(state), ") Z ") {
			t.Errorf("the program lives: %s", state)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("%v, %v", left, err)
	}
}

func TestCleanupBadJournals(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"i-broken":  "{",
		"i-foreign": `{"namespace":"../../etc/passwd"}`,
		"i-other":   `{"namespace":"cni-1234"}`,
	} {
		os.Mkdir(filepath.Join(dir, name), 0o755)
		os.WriteFile(filepath.Join(dir, name, "netns.json"), []byte(text), 0o644)
	}
	os.Mkdir(filepath.Join(dir, "i-gone"), 0o755)
	os.WriteFile(filepath.Join(dir, "i-gone", "netns.json"), []byte(`{"namespace":"vpclab-nosuchns"}`), 0o644)
	os.WriteFile(filepath.Join(dir, "file"), nil, 0o644)
	err := netns.New().Cleanup(dir)
	for _, name := range []string{"i-broken", "i-foreign", "i-other"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v does not name %s", err, name)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "i-gone")); !errors.Is(err, os.ErrNotExist) {
		t.Error("the good one was not cleaned up")
	}
	if err := netns.New().Cleanup(filepath.Join(dir, "no-such-dir")); err != nil {
		t.Error(err)
	}
}

func TestNoPermission(t *testing.T) {
	needsRoot(t)
	cmd := exec.Command("/proc/self/exe", "-test.run=TestAvailableAsNobody", "-test.v")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	cmd.Env = []string{"NETNS_TEST_NOBODY=1"}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "PASS: TestAvailableAsNobody") {
		t.Fatalf("%s, %v", out, err)
	}
}

func TestAvailableAsNobody(t *testing.T) {
	if os.Getenv("NETNS_TEST_NOBODY") == "" {
		return
	}
	err := netns.NewBy(netns.ByRoot).Available()
	if err == nil || !strings.Contains(err.Error(), "run as root") || !strings.Contains(err.Error(), "netstack") {
		t.Fatal(err)
	}
}
