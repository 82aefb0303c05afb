package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestGolden runs each command against the scripted agent and compares all that it prints, and its exit code.
func TestGolden(t *testing.T) {
	const lab = "LAB" // stands for a lab file
	for name, args := range map[string][]string{
		"doctor-lacks":     {"doctor"},
		"status":           {"status"},
		"apply":            {"apply", lab},
		"apply-dry-run":    {"apply", lab, "--dry-run"},
		"down-lab":         {"down", "three-tier"},
		"validate":         {"validate", lab},
		"test":             {"test", lab},
		"probe":            {"probe", "web-1", "app-1:8080", "-c", "2"},
		"probe-reject":     {"probe", "web-1", "db-1:5432", "--exit-code"},
		"explain":          {"explain", "web-1", "db-1:5432"},
		"authorize":        {"authorize", "app", "tcp", "8080", "from", "web"},
		"revoke":           {"revoke", "app", "tcp 8080 from web"},
		"flows":            {"flows"},
		"conntrack":        {"conntrack", "list"},
		"flowlogs-list":    {"flowlogs", "list"},
		"flowlogs-read":    {"flowlogs", "read"},
		"show-lab":         {"show", "lab"},
		"show-vpc":         {"show", "vpc"},
		"show-subnet":      {"show", "subnet"},
		"show-group":       {"show", "group"},
		"show-eni":         {"show", "eni"},
		"show-instance":    {"show", "instance"},
		"show-route-table": {"show", "rtb"},
		"show-prefix-list": {"show", "pl"},
		"show-flow-log":    {"show", "fl"},
		"doctor":           {"doctor"},
		"restart":          {"restart", "vm-1"},
		"exec":             {"exec", "web-1", "--", "ping", "-c", "1"},
	} {
		for _, form := range []string{"table", "json", "yaml", "csv", "color"} {
			if name == "exec" && form != "table" {
				continue // a program's output has no form
			}
			t.Run(name+"/"+form, func(t *testing.T) { golden(t, name, form, lab, args) })
		}
	}
}

func golden(t *testing.T, name, form, lab string, args []string) {
	r := newRig(t).withAgent()
	if name == "doctor-lacks" {
		r.host.lacking = 2
	}
	r.in = "input"
	line := []string{"-o", form}
	if form == "color" {
		line = []string{"--color", "always"}
	}
	for _, a := range args {
		if a == lab {
			a = r.file("lab: three-tier")
		}
		line = append(line, a)
	}
	code := r.run(line...)
	got := fmt.Sprintf("exit %d\n--- stdout\n%s--- stderr\n%s", code, r.out.String(), r.err.String())
	path := filepath.Join("testdata", name+"."+form)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (-update writes it anew). Got\n%s", path, got)
	}
}
