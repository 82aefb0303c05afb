package flowlogs

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/vpclab/vpclab/vpc"
)

func FuzzParseFormat(f *testing.F) {
	for _, s := range []string{DefaultLogFormat, mustFormat(allFields).String(), "", " ", "${}", "${version} ", "${version}${srcaddr}", "$${version}"} {
		f.Add(s)
	}
	r := longest()
	f.Fuzz(func(t *testing.T, text string) {
		format, err := ParseFormat(text)
		if err != nil {
			if e, ok := errors.AsType[*vpc.Error](err); !ok || e.Hint == "" || format != nil {
				t.Fatalf("%v: no hint", err)
			}
			return
		}
		if format.String() != text {
			t.Fatalf("%q became %q", text, format)
		}
		again, ok := ParseHeader(format.Header())
		if !ok || again.String() != text || again.Version() != format.Version() {
			t.Fatalf("header %q became %v", format.Header(), again)
		}
		line := string(format.Append(nil, r))
		if len(line) > format.MaxLine() {
			t.Fatalf("%d bytes, bound %d", len(line), format.MaxLine())
		}
		if strings.Count(line, " ") != len(format.Fields())-1 {
			t.Fatalf("fields of %q", line)
		}
	})
}

func FuzzParseLine(f *testing.F) {
	for _, line := range []string{sshLine, noDataLine, "", "-", "2  3"} {
		f.Add(version2, line)
	}
	f.Add("vpc_id brand-new", "vpc-1 x")
	f.Add("version", "2")
	f.Fuzz(func(t *testing.T, header, line string) {
		format, ok := ParseHeader(header)
		if !ok {
			return
		}
		row, err := ParseLine(format, line)
		if err != nil {
			return
		}
		again, err := ParseLine(format, row.String())
		if err != nil || again.String() != row.String() {
			t.Fatalf("%q became %q, %v", row, again, err)
		}
		for _, name := range format.Fields() {
			row.Number(name)
			row.Addr(name)
			if v, ok := row.Text(name); ok && v == "-" {
				t.Fatalf("%s is a dash", name)
			}
		}
		if !(&Filter{}).MatchRow(row) {
			t.Fatal("the empty filter does not take it")
		}
	})
}

func FuzzReader(f *testing.F) {
	f.Add([]byte(version2 + "\n" + sshLine))
	f.Add([]byte(`{"logEvents":[{"message":"` + sshLine + `"}]}`))
	f.Add([]byte{0x1f, 0x8b, 8, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := NewReader(strings.NewReader(string(b)))
		if err != nil {
			return
		}
		for range 1000 {
			row, err := r.Next()
			if errors.Is(err, io.EOF) || err != nil {
				return
			}
			if len(row.Values) != len(row.Format.Fields()) {
				t.Fatalf("%v", row)
			}
		}
	})
}

func FuzzParseBucket(f *testing.F) {
	for _, s := range []string{"arn:aws:s3:::my-logs/a/b/", "my-logs", "my-logs/../x", "arn:::::"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b, err := ParseBucket(s)
		if err != nil {
			return
		}
		l := layout{bucket: b, account: "1", region: "r", flowLogID: "fl-1"}
		path := l.folder(timeOf(base))
		if !strings.HasPrefix(path, b.Name+"/") || strings.Contains(path, "//") || strings.Contains("/"+path+"/", "/../") ||
			strings.Count("/"+path, "/AWSLogs/") != 1 {
			t.Fatalf("%q gives the folder %q", s, path)
		}
	})
}
