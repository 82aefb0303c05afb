package render

import (
	"fmt"
)

// Version is what a program was made from.
type Version struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Modified bool   `json:"modified,omitempty"` // the work tree differed from the commit
	Go       string `json:"go"`
	Platform string `json:"platform"` // "linux/amd64"
}

// Version prints a version in one line.
func (p *Printer) Version(v Version) error {
	if done, err := p.value(v); done {
		return err
	}
	if p.Format == CSV {
		return writeCSV(p.W, true, []field[Version]{
			{"version", func(v *Version) any { return v.Version }},
			{"commit", func(v *Version) any { return v.Commit }},
			{"go", func(v *Version) any { return v.Go }},
			{"platform", func(v *Version) any { return v.Platform }},
		}, []Version{v})
	}
	line := "vpclab " + v.Version
	if v.Commit != "" {
		line += " " + v.Commit[:min(12, len(v.Commit))]
		if v.Modified {
			line += " (modified)"
		}
	}
	_, err := fmt.Fprintf(p.W, "%s %s %s\n", line, v.Go, v.Platform)
	return err
}
