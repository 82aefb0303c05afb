//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// pages are those whose commands are run, in the order in which they stand. Files are named from the top of the repository.
var pages = []string{"README.md", "docs/*.md", "examples/vpc-from-scratch/README.md", "examples/vpc-from-scratch/grading/README.md", "examples/libvirt/README.md", "examples/proxmox/README.md"}

// A block is a ```sh fence; the comment above it, if there is one, says why it cannot be run here.
var shBlock = regexp.MustCompile("(?m)(?:^<!-- not run: (.+?) -->\n)?^```sh\n((?:.*\n)*?)^```$")

type block struct {
	line  int
	why   string // not run
	lines []string
}

func blocks(text string) (out []block) {
	for _, m := range shBlock.FindAllStringSubmatchIndex(text, -1) {
		b := block{line: 1 + strings.Count(text[:m[4]], "\n")}
		if m[2] >= 0 {
			b.why = text[m[2]:m[3]]
		}
		whole := strings.ReplaceAll(text[m[4]:m[5]], "\\\n", " ")
		for l := range strings.Lines(whole) {
			if l = strings.TrimSpace(l); l != "" && !strings.HasPrefix(l, "#") {
				b.lines = append(b.lines, l)
			}
		}
		out = append(out, b)
	}
	return out
}

// TestPages runs what the pages tell people to type, each page in a data directory of its own. A command has to succeed; doctor
// may find something lacking.
func TestPages(t *testing.T) {
	toRun := 0
	for _, pattern := range pages {
		files, err := filepath.Glob(filepath.Join("..", pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		for _, file := range files {
			raw := read(t, file)
			if strings.Count(raw, "\n```sh\n") != len(blocks("\n"+raw)) {
				t.Errorf("%s: a block is not understood", file)
			}
			all := slices.DeleteFunc(blocks(raw), func(b block) bool { return b.why != "" })
			toRun += len(all)
			if len(all) == 0 {
				continue
			}
			t.Run(strings.TrimPrefix(file, "../"), func(t *testing.T) {
				for _, program := range []string{"curl", "ping"} { // that pages run on instances
					needsProgram(t, program, program)
				}
				p := newReader(t, file)
				for _, b := range all {
					p.block(b)
				}
			})
		}
	}
	if toRun < 6 {
		t.Errorf("the pages have only %d blocks to run", toRun)
	}
}

// reader is somebody who types what a page says.
type reader struct {
	t    *testing.T
	h    *host
	page string
	dir  string // with examples/ in it
	env  []string
}

// newReader gives the reader a place where `vpclab`, `./vpclab` and the go commands of the pages are this program, with a data
// directory of the test's.
func newReader(t *testing.T, page string) *reader {
	t.Helper()
	r := &reader{t: t, h: newHost(t), page: page, dir: t.TempDir()}
	bin := filepath.Join(r.dir, "bin")
	if err := os.CopyFS(filepath.Join(r.dir, "examples"), os.DirFS("../examples")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	self := fmt.Sprintf("#!/bin/sh\nexec %q --data-dir %q \"$@\"\n", program, r.h.dir)
	for path, text := range map[string]string{
		filepath.Join(r.dir, "vpclab"): self,
		filepath.Join(bin, "vpclab"):   self,
		filepath.Join(bin, "go"): `#!/bin/sh
case "$*" in
"run ./cmd/vpclab "*) shift 2; exec vpclab "$@" ;;
"build -o vpclab ./cmd/vpclab") exec test -x vpclab ;; # as TestMain has built it
"test ./...") ;; # who runs this
*) echo "the test of the pages does not know: go $*" >&2; exit 99 ;;
esac
`} {
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r.env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
	return r
}

var foreground = regexp.MustCompile(`\bvpclab up\b`)

// block types a block. What stays in the foreground is ended with Ctrl-C at the block's end, as by somebody at two terminals.
func (r *reader) block(b block) {
	r.t.Helper()
	for _, line := range b.lines {
		cmd := exec.Command("bash", "-c", line)
		cmd.Dir, cmd.Env = r.dir, r.env
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		p := &process{t: r.t, cmd: cmd, ended: make(chan struct{}), quiet: true}
		cmd.Stdout, cmd.Stderr = &p.out, &p.err
		stays := foreground.MatchString(line) && !strings.Contains(line, "--detach")
		p.begin()
		if stays {
			p.await(&p.err, running)
			defer func() { // Ctrl-C goes to the whole group
				syscall.Kill(-cmd.Process.Pid, syscall.SIGINT)
				if code := p.wait(patience); code != 0 {
					r.t.Errorf("%s:%d: %s: exit code %d after Ctrl-C\n%s", r.page, b.line, line, code, p.err.String())
				}
			}()
			continue
		}
		code := p.wait(4 * patience)
		if code != 0 && !(code == 3 && strings.HasSuffix(strings.Fields(line + " #")[0], "vpclab") && strings.Contains(line, "vpclab doctor")) {
			r.t.Errorf("%s:%d: %s: exit code %d\n%s%s", r.page, b.line, line, code, p.out.String(), p.err.String())
		}
	}
}

// TestBlocks: what the test of the pages takes for commands.
func TestBlocks(t *testing.T) {
	got := blocks("x\n```sh\na \\\n  b # c\n\n# d\ne\n```\ntext\n\n<!-- not run: far away -->\n```sh\nf\n```\n```yaml\ng\n```\n<!-- not run: x -->\n\n```sh\nh\n```\n")
	want := []block{{3, "", []string{"a    b # c", "e"}}, {13, "far away", []string{"f"}}, {21, "", []string{"h"}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}
