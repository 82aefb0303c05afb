package flowlogs

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// readAll gives the rows of a text, one a line as AWS writes them, and how many lines were skipped.
func readAll(t *testing.T, in io.Reader) (rows []Row, text string, skipped int) {
	t.Helper()
	r, err := NewReader(in)
	must(t, err)
	for {
		row, err := r.Next()
		if errors.Is(err, io.EOF) {
			return rows, strings.TrimSpace(text), r.Skipped()
		}
		must(t, err)
		rows, text = append(rows, row), text+row.String()+"\n"
	}
}

const (
	sshLine    = "2 123456789010 eni-1235b8ca123456789 172.31.16.139 172.31.16.21 20641 22 6 20 4249 1418530010 1418530070 ACCEPT OK"
	noDataLine = "2 123456789010 eni-1235b8ca123456789 - - - - - - - 1431280876 1431280934 - NODATA"
)

func TestReaderTakesWhatIsAround(t *testing.T) {
	both := sshLine + "\n" + noDataLine
	quoted := `{"timestamp":1,"message":"` + sshLine + `"}`
	for _, test := range []struct {
		name, in, want string
		skipped        int
	}{
		{"nothing", "", "", 0},
		{"blank lines", "\n\n \r\n", "", 0},
		{"no header", both, both, 0},
		{"header", version2 + "\n" + both + "\n", both, 0},
		{"CRLF", version2 + "\r\n" + sshLine + "\r\n" + noDataLine + "\r\n", both, 0},
		{"header again, as in files put together", version2 + "\n" + sshLine + "\n" + version2 + "\n" + noDataLine, both, 0},
		{"repeated spaces", version2 + "\n" + strings.ReplaceAll(both, " ", "  \t"), both, 0},
		{"another header", "end account_id action\n5 12345678901 ACCEPT\naction\nREJECT", "5 12345678901 ACCEPT\nREJECT", 0},
		{"columns of a later version", "bytes brand-new version\n7 x 12\n", "7 x 12", 0},
		{"bogus lines", sshLine + "\nhello\n2 x\n" + sshLine + " more\n" + noDataLine, both, 3},
		{"bad values", strings.Join([]string{
			strings.Replace(sshLine, "20641", "many", 1), strings.Replace(sshLine, "172.31.16.21", "172.31.16.300", 1),
			strings.Replace(sshLine, "ACCEPT", "MAYBE", 1), strings.Replace(sshLine, " OK", " FINE", 1), strings.Replace(sshLine, "4249", "-4249", 1), sshLine}, "\n"), sshLine, 5},
		{"an account of 11 digits", strings.Replace(sshLine, "123456789010", "12345678901", 1), strings.Replace(sshLine, "123456789010", "12345678901", 1), 0},
		{"milliseconds", strings.ReplaceAll(sshLine, "14185300", "141853000000"), strings.ReplaceAll(sshLine, "14185300", "141853000000"), 0},
		{"an unknown account", strings.Replace(sshLine, "123456789010", "unknown", 1), strings.Replace(sshLine, "123456789010", "unknown", 1), 0},
		{"nothing but dashes", strings.Repeat("- ", 14), strings.TrimSpace(strings.Repeat("- ", 14)), 0},
		{"CloudWatch event", quoted, sshLine, 0},
		{"CloudWatch events, nothing between", quoted + quoted + "\n" + quoted, sshLine + "\n" + sshLine + "\n" + sshLine, 0},
		{"CloudWatch subscription", `{"messageType":"DATA_MESSAGE","logGroup":"g","logEvents":[` + quoted + `,{"id":"1","message":"` + noDataLine + `"}]}`, both, 0},
		{"CloudWatch answer", `{"events": [` + quoted + `], "nextToken": "x"}`, sshLine, 0},
		{"list of lines", ` ["` + sshLine + `", "` + noDataLine + `", null, 7, {}]`, both, 0},
		{"CloudWatch header", `["version srcaddr","2 10.0.0.1"]`, "2 10.0.0.1", 0},
	} {
		_, got, skipped := readAll(t, strings.NewReader(test.in))
		if got != test.want || skipped != test.skipped {
			t.Errorf("%s: %d skipped, got\n%s\nwant %d and\n%s", test.name, skipped, got, test.skipped, test.want)
		}
		var zipped bytes.Buffer
		gz := gzip.NewWriter(&zipped)
		gz.Write([]byte(test.in))
		gz.Close()
		if _, again, _ := readAll(t, &zipped); again != got {
			t.Errorf("%s: gzip gave\n%s", test.name, again)
		}
	}
}

func TestReaderOfFixtureInAnyOrder(t *testing.T) {
	rows, _, skipped := readAll(t, strings.NewReader(`account-id action az-id bytes dstaddr dstport end flow-direction instance-id interface-id log-status packets pkt-dst-aws-service pkt-dstaddr pkt-src-aws-service pkt-srcaddr protocol region srcaddr srcport start sublocation-id sublocation-type subnet-id tcp-flags traffic-path type version vpc-id
999999999999 ACCEPT use2-az2 4895 192.0.2.156 50318 1614866511 ingress i-00123456789abcdef eni-00123456789abcdef OK 15 - 192.0.2.156 S3 198.51.100.6 6 us-east-2 198.51.100.7 443 1614866493 - - subnet-0123456789abcdef 19 - IPv4 5 vpc-04456ab739938ee3f
999999999999 ACCEPT use2-az2 3015 198.51.100.6 443 1614866511 egress i-00123456789abcdef eni-00123456789abcdef OK 16 S3 198.51.100.7 - 192.0.2.156 6 us-east-2 192.0.2.156 50318 1614866493 - - subnet-0123456789abcdef 7 7 IPv4 5 vpc-04456ab739938ee3f
`))
	if len(rows) != 2 || skipped != 0 {
		t.Fatalf("%d rows, %d skipped", len(rows), skipped)
	}
	if rows[0].Format.Version() != 5 {
		t.Errorf("version %d", rows[0].Format.Version())
	}
	for field, want := range map[string]uint64{"bytes": 4895, "srcport": 443, "tcp-flags": 19, "version": 5, "end": 1614866511} {
		if got, ok := rows[0].Number(field); !ok || got != want {
			t.Errorf("%s is %d, %v", field, got, ok)
		}
	}
	if a, ok := rows[0].Addr("pkt-srcaddr"); !ok || a != netip.MustParseAddr("198.51.100.6") {
		t.Errorf("pkt-srcaddr is %v", a)
	}
	for _, field := range []string{"traffic-path", "sublocation-id", "no-such-field"} {
		_, text := rows[0].Text(field)
		_, number := rows[0].Number(field)
		_, addr := rows[0].Addr(field)
		if text || number || addr {
			t.Errorf("%s has a value", field)
		}
	}
	if _, ok := rows[0].Number("action"); ok {
		t.Error("action is a number")
	}
	if _, ok := rows[0].Addr("action"); ok {
		t.Error("action is an address")
	}
}

func TestDamagedFiles(t *testing.T) {
	var zipped bytes.Buffer
	gz := gzip.NewWriter(&zipped)
	gz.Write([]byte(strings.Repeat(sshLine+"\n", 50)))
	gz.Flush()
	gz.Write([]byte(noDataLine + "\n"))
	gz.Close()
	path := filepath.Join(t.TempDir(), "f.log.gz")
	must(t, os.WriteFile(path, zipped.Bytes()[:zipped.Len()-12], 0o600))
	rows, _, err := ReadFile(path)
	if err == nil || len(rows) < 50 {
		t.Errorf("cut: %d rows, %v", len(rows), err)
	}
	must(t, os.WriteFile(path, zipped.Bytes(), 0o600))
	if rows, skipped, err := ReadFile(path); err != nil || len(rows) != 51 || skipped != 0 {
		t.Errorf("whole: %d rows, %d skipped, %v", len(rows), skipped, err)
	}
	must(t, os.WriteFile(path, zipped.Bytes()[:5], 0o600))
	if _, _, err := ReadFile(path); err == nil {
		t.Error("a cut gzip header gave no error")
	}
	must(t, os.WriteFile(path, []byte(`{"message": "x"`), 0o600))
	if _, _, err := ReadFile(path); err == nil {
		t.Error("cut JSON gave no error")
	}
	must(t, os.WriteFile(path, []byte(strings.Repeat("x", maxText+1)), 0o600))
	if _, _, err := ReadFile(path); err == nil {
		t.Error("an endless line gave no error")
	}
	if _, _, err := ReadFile(path + "-none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	if _, err := NewReader(io.MultiReader(failing{})); !errors.Is(err, errFailing) {
		t.Errorf("a reader that fails: %v", err)
	}
}

var errFailing = errors.New("failing")

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errFailing }

func TestParseHeader(t *testing.T) {
	for line, want := range map[string]string{
		version2:                     version2,
		"vpc_id   az_id":             "vpc-id az-id",
		"version new-column2":        "version new-column2",
		"":                           "",
		"new-column other":           "",
		sshLine:                      "",
		noDataLine:                   "",
		"i-01234567890123456 eni-12": "",
		"version -":                  "",
		"Version":                    "",
	} {
		f, ok := ParseHeader(line)
		if ok != (want != "") || ok && f.Header() != want {
			t.Errorf("%q: %v, want %q", line, f, want)
		}
	}
}

func TestMatchRow(t *testing.T) {
	row := func(format, line string) Row {
		r, err := ParseLine(mustFormat(format), line)
		must(t, err)
		return r
	}
	ssh, quiet := row(version2, sshLine), row(version2, noDataLine)
	bare := row("bytes", "1")
	shown := row("srcaddr dstaddr pkt-srcaddr pkt-dstaddr", "10.0.1.5 10.0.0.220 10.0.1.5 203.0.113.5")
	for _, test := range []struct {
		name   string
		filter Filter
		row    Row
		want   bool
	}{
		{"all", Filter{}, ssh, true},
		{"all, no data", Filter{}, quiet, true},
		{"all, bare", Filter{}, bare, true},
		{"interface", Filter{Interfaces: []string{"eni-0", "eni-1235b8ca123456789"}}, ssh, true},
		{"another interface", Filter{Interfaces: []string{"eni-0"}}, ssh, false},
		{"interface, bare", Filter{Interfaces: []string{"eni-0"}}, bare, false},
		{"vpc not said", Filter{VPCIDs: []string{"vpc-1"}}, ssh, false},
		{"source port", Filter{Ports: []uint16{20641}}, ssh, true},
		{"destination port", Filter{Ports: []uint16{80, 22}}, ssh, true},
		{"another port", Filter{Ports: []uint16{80}}, ssh, false},
		{"protocol", Filter{Protocols: []uint8{6}}, ssh, true},
		{"another protocol", Filter{Protocols: []uint8{17}}, ssh, false},
		{"source", Filter{Addresses: prefixes("172.31.16.139/32")}, ssh, true},
		{"range of the destination", Filter{Addresses: prefixes("1.0.0.0/8", "172.31.16.16/28")}, ssh, true},
		{"another address", Filter{Addresses: prefixes("10.0.0.0/8")}, ssh, false},
		{"of the packet", Filter{Addresses: prefixes("203.0.113.5/32")}, shown, true},
		{"as shown", Filter{Addresses: prefixes("10.0.0.220/32")}, shown, true},
		{"action", Filter{Action: Accept}, ssh, true},
		{"another action", Filter{Action: Reject}, ssh, false},
		{"action, no data", Filter{Action: Accept}, quiet, false},
		{"flows only", Filter{FlowsOnly: true}, quiet, false},
		{"since its end", Filter{Since: 1418530070 * nanos}, ssh, true},
		{"since later", Filter{Since: 1418530071 * nanos}, ssh, false},
		{"since, bare", Filter{Since: 1}, bare, false},
	} {
		if got := test.filter.MatchRow(test.row); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

func prefixes(texts ...string) (p []netip.Prefix) {
	for _, s := range texts {
		p = append(p, netip.MustParsePrefix(s))
	}
	return p
}
