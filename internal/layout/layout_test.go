package layout

import (
	"bufio"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const module = "github.com/vpclab/vpclab/"

// allowed says for each package what it may import besides the standard library: packages of this
// module by path, others by module. A package that ends in /* stands for all below it.
var allowed = map[string][]string{
	"packet":                  {},
	"packet/packettest":       {"packet"},
	"vpc":                     {"github.com/hashicorp/go-memdb"},
	"vpc/storetest":           {"vpc"},
	"sg":                      {"vpc", "packet", "github.com/gaissmai/bart"},
	"flowlogs":                {"packet", "vpc", "github.com/klauspost/compress"},
	"vswitch/conntrack":       {"packet", "golang.org/x/sys"},
	"vswitch":                 {"packet", "vpc", "sg", "vswitch/conntrack", "flowlogs", "github.com/gaissmai/bart"},
	"vswitch/port/memory":     {"vswitch", "packet"},
	"vswitch/port/tap":        {"vswitch", "packet", "github.com/songgao/water", "golang.org/x/sys"},
	"vswitch/port/afpacket":   {"vswitch", "packet", "github.com/vishvananda/netlink", "golang.org/x/sys"},
	"vswitch/port/netstack":   {"vswitch", "packet", "gvisor.dev/gvisor"},
	"vswitch/port/porttest":   {"vswitch", "packet"},
	"e2e":                     {},
	"instances":               {"vpc", "vswitch", "packet", "github.com/vishvananda/netlink", "github.com/vishvananda/netns", "golang.org/x/sys"},
	"instances/drivertest":    {"instances", "vswitch", "vswitch/port/porttest", "packet"},
	"vswitch/port/stream":     {"vswitch", "packet", "golang.org/x/sys"},
	"instances/qemu":          {"instances", "vpc", "vswitch", "vswitch/port/stream", "packet", "golang.org/x/sys"},
	"instances/netns/helper":  {"golang.org/x/sys"},
	"instances/netns/sandbox": {"golang.org/x/sys"},
	"instances/netns":         {"instances", "instances/netns/helper", "instances/netns/sandbox", "vpc", "vswitch", "vswitch/port/tap", "packet", "github.com/vishvananda/netlink", "github.com/vishvananda/netns", "golang.org/x/sys"},
	"instances/tap":           {"instances", "vswitch", "vswitch/port/tap", "vswitch/port/afpacket", "packet", "github.com/vishvananda/netlink", "github.com/vishvananda/netns", "golang.org/x/sys"},
	"instances/netstack":      {"instances", "vpc", "vswitch", "vswitch/port/netstack", "packet", "gvisor.dev/gvisor", "github.com/miekg/dns"},
	"lab":                     {"vpc", "flowlogs", "github.com/goccy/go-yaml", "github.com/santhosh-tekuri/jsonschema", "golang.org/x/text"},
	"api/agent":               {"vpc", "flowlogs"},
	"internal/doctor":         {"api/agent", "golang.org/x/sys"},
	"internal/render":         {"api/agent", "internal/doctor", "vpc", "github.com/goccy/go-yaml", "golang.org/x/term"},
	"internal/layout":         {},
	"internal/agent":          {"*"},
	"bench/tool":              {},
	"bench/datapath":          {"vpc", "vswitch", "vswitch/conntrack", "vswitch/port/tap", "flowlogs"},
	"cmd/vpclab":              {"internal/*", "api/agent", "github.com/spf13/cobra", "github.com/spf13/pflag", "golang.org/x/term", "golang.org/x/sys"},
}

type listed struct {
	ImportPath string
	Imports    []string
}

func packages(t *testing.T) []listed {
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	cmd.Dir = root(t)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	for d := json.NewDecoder(strings.NewReader(string(out))); d.More(); {
		var p listed
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

func root(t *testing.T) string {
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestImports holds the design's import rules. A new package must be given its line.
func TestImports(t *testing.T) {
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		may, ok := allowed[name]
		if !ok {
			t.Errorf("package %s has no line in the import rules", name)
		}
		for _, i := range p.Imports {
			if !permitted(may, i) {
				t.Errorf("%s imports %s", name, i)
			}
		}
	}
}

func permitted(may []string, path string) bool {
	own, isOwn := strings.CutPrefix(path, module)
	if first, _, _ := strings.Cut(path, "/"); !isOwn && !strings.Contains(first, ".") {
		return true
	}
	for _, m := range may {
		switch below, wild := strings.CutSuffix(m, "*"); {
		case m == "*", isOwn && own == m, isOwn && wild && strings.HasPrefix(own, below):
			return true
		case !isOwn && (path == m || strings.HasPrefix(path, m+"/")):
			return true
		}
	}
	return false
}

// TestFileLength keeps files short enough to be read in one go.
func TestFileLength(t *testing.T) {
	const limit = 800
	eachGoFile(t, func(path string) {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		n := 0
		for s := bufio.NewScanner(f); s.Scan(); {
			n++
		}
		if n > limit {
			t.Errorf("%s has %d lines; split it before %d", path, n, limit)
		}
	})
}

// TestPackageComments wants every package to say what it owns.
func TestPackageComments(t *testing.T) {
	documented := map[string]bool{}
	eachGoFile(t, func(path string) {
		if strings.HasSuffix(path, "_test.go") {
			return
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Dir(path)
		documented[dir] = documented[dir] || strings.HasPrefix(string(text), "// Package ") || strings.HasPrefix(string(text), "// Command ") ||
			strings.Contains(string(text), "\n// Package ") || strings.Contains(string(text), "\n// Command ")
	})
	for dir, ok := range documented {
		if !ok {
			t.Errorf("%s has no package comment", dir)
		}
	}
}

func eachGoFile(t *testing.T, f func(path string)) {
	err := filepath.WalkDir(root(t), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != root(t) {
			return filepath.SkipDir
		}
		if strings.HasSuffix(path, ".go") {
			f(path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
