package netstack

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	long := map[string]string{"max-time": "w", "verbose": "v"}
	for args, want := range map[string]string{
		"":                       "map[] []",
		"-v":                     "map[v:[]] []",
		"-vz host":               "map[v:[] z:[]] [host]",
		"-zw1 host":              "map[w:[1] z:[]] [host]",
		"-zw 1 host":             "map[w:[1] z:[]] [host]",
		"host -w 1 80 -v":        "map[v:[] w:[1]] [host 80]",
		"-w 1 -w 2":              "map[w:[1 2]] []",
		"-w -v":                  "map[w:[-v]] []",
		"-- -v":                  "map[] [-v]",
		"--max-time 3 --verbose": "map[v:[] w:[3]] []",
		"--max-time=3":           "map[w:[3]] []",
		"-":                      "map[] [-]",
		"-q":                     "unknown option -q",
		"-vq":                    "unknown option -q",
		"-w":                     "option -w needs a value",
		"--max-time":             "option --max-time needs a value",
		"--quiet":                "unknown option --quiet",
	} {
		o, err := parse(strings.Fields(args), "w", "vz", long)
		got := fmt.Sprint(o.flags, o.operands)
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: %s, want %s", args, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("-zv host 80")
	f.Add("--max-time=3 -- -x")
	f.Fuzz(func(t *testing.T, line string) {
		o, err := parse(strings.Split(line, " "), "w", "vz", map[string]string{"max-time": "w", "verbose": "v"})
		if err == nil && len(o.flags)+len(o.operands) == 0 && strings.Trim(line, "- ") != "" {
			t.Fatalf("%q: nothing came of it", line)
		}
	})
}

func TestMillis(t *testing.T) {
	for d, want := range map[time.Duration]string{
		45 * time.Microsecond: "0.045", 1234 * time.Microsecond: "1.23", 12345 * time.Microsecond: "12.3", 123456 * time.Microsecond: "123",
	} {
		if got := millis(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

func TestParsePorts(t *testing.T) {
	for text, want := range map[string]string{"80": "80 80", "1-65535": "1 65535", "0": "", "90-80": "", "x": "", "80-": "", "-80": "", "65536": ""} {
		first, last, err := parsePorts(text)
		got := fmt.Sprint(first, last)
		if err != nil {
			got = ""
		}
		if got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
