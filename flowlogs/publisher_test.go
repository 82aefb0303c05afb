package flowlogs

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/vpclab/vpclab/vpc"
)

func flowLog(id, resource, traffic string, edit ...func(*vpc.FlowLog)) *vpc.FlowLog {
	fl := &vpc.FlowLog{ResourceID: resource, TrafficType: traffic, LogDestinationType: "s3", LogDestination: "arn:aws:s3:::my-logs"}
	fl.ID = id
	for _, e := range edit {
		e(fl)
	}
	return fl
}

func newPublisher(t *testing.T, edit ...func(*PublisherConfig)) (*Publisher, string) {
	t.Helper()
	c := PublisherConfig{Dir: t.TempDir(), Account: "123456789012", Region: "us-east-1"}
	for _, e := range edit {
		e(&c)
	}
	p, err := NewPublisher(c)
	if err != nil {
		t.Fatal(err)
	}
	return p, c.Dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// published gives the text of all published files by path below dir.
func published(t *testing.T, dir string) map[string]string {
	t.Helper()
	files, err := List(dir)
	must(t, err)
	texts := make(map[string]string)
	for _, f := range files {
		in, err := os.Open(f.Path)
		must(t, err)
		gz, err := gzip.NewReader(in)
		must(t, err)
		text, err := io.ReadAll(gz)
		must(t, err)
		in.Close()
		rel, _ := filepath.Rel(dir, f.Path)
		texts[rel] = string(text)
	}
	return texts
}

// sealed gives the records of the five minutes from base on: each minute one accepted flow at web-1,
// one rejected at db-1, and nothing at quiet-1.
func sealed(a *Aggregator, minute int64) []Record {
	if minute == 0 {
		a.SetInterface(1, testInterface("eni-00000000000000001", "10.0.1.10"))
		db := testInterface("eni-00000000000000002", "10.0.2.20")
		db.SubnetID = "subnet-bbbbbbbb012345678"
		a.SetInterface(2, db)
		other := testInterface("eni-00000000000000003", "10.9.0.1")
		other.VPCID, other.SubnetID = "vpc-00000000000000009", "subnet-00000000000000009"
		a.SetInterface(3, other)
	}
	a.Add(1, web(minute*60+1, minute*60+2))
	a.Add(2, change(web(minute*60+3, minute*60+4), func(f *Flow) { f.Action = Reject }))
	return a.Seal(at(minute*60 + 60))
}

func TestPublish(t *testing.T) {
	p, dir := newPublisher(t)
	must(t, p.SetSubscriptions([]*vpc.FlowLog{flowLog("fl-0123456789abcdef0", "vpc-abcdefab012345678", "ALL")}))
	a := NewAggregator(Config{Start: at(0)})
	// base is 22:14:00: the windows end at 22:15 to 22:20, in the five minutes of 22:15 and of 22:20
	for minute := range int64(6) {
		must(t, p.Consume(sealed(a, minute)))
		must(t, p.Tick(at(minute*60+60)))
		if got := published(t, dir); len(got) != 0 && minute < 5 {
			t.Fatalf("published after minute %d: %v", minute, got)
		}
	}
	want := version2 + "\n"
	for minute := int64(0); minute < 5; minute++ {
		start := base + minute*60
		want += fmt.Sprintf("2 123456789012 eni-00000000000000001 10.0.1.66 10.0.1.10 40000 80 6 4 216 %d %d ACCEPT OK\n", start+1, start+60)
		want += fmt.Sprintf("2 123456789012 eni-00000000000000002 10.0.1.66 10.0.2.20 40000 80 6 4 216 %d %d REJECT OK\n", start+3, start+60)
	}
	files := published(t, dir)
	if len(files) != 1 {
		t.Fatalf("%v", files)
	}
	name := regexp.MustCompile(`^my-logs/AWSLogs/123456789012/vpcflowlogs/us-east-1/2023/11/14/123456789012_vpcflowlogs_us-east-1_fl-0123456789abcdef0_20231114T2215Z_[0-9a-f]{8}\.log\.gz$`)
	for path, text := range files {
		if !name.MatchString(path) {
			t.Errorf("path %s", path)
		}
		same(t, "text", text, want)
	}
	must(t, p.Close())
	must(t, p.Close())
	files = published(t, dir)
	if len(files) != 2 {
		t.Errorf("after Close: %v", files)
	}
	for _, err := range []error{p.Consume(nil), p.Tick(0), p.SetSubscriptions(nil)} {
		if !errors.Is(err, errClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
	if left, _ := os.ReadDir(filepath.Join(dir, partialDir)); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if got := p.Stats(); got != (PublisherStats{Records: 12}) {
		t.Errorf("%+v", got)
	}
}

func TestWhatASubscriptionGets(t *testing.T) {
	for _, test := range []struct{ resource, traffic, want string }{
		{"vpc-abcdefab012345678", "ALL", "1 ACCEPT OK, 2 REJECT OK"},
		{"vpc-abcdefab012345678", "ACCEPT", "1 ACCEPT OK, 2 - NODATA"},
		{"vpc-abcdefab012345678", "REJECT", "1 - NODATA, 2 REJECT OK"},
		{"subnet-bbbbbbbb012345678", "ALL", "2 REJECT OK"},
		{"eni-00000000000000001", "ALL", "1 ACCEPT OK"},
		{"eni-00000000000000001", "REJECT", "1 - NODATA"},
		{"vpc-00000000000000009", "ALL", "3 - NODATA"},
		{"vpc-99999999999999999", "ALL", ""},
		{"", "ALL", ""},
	} {
		var got collect
		p, _ := newPublisher(t, func(c *PublisherConfig) { c.Destinations = map[string]Opener{"test": got.open} })
		must(t, p.SetSubscriptions([]*vpc.FlowLog{flowLog("fl-1", test.resource, test.traffic,
			func(fl *vpc.FlowLog) { fl.LogDestinationType = "test" })}))
		must(t, p.Consume(sealed(NewAggregator(Config{Start: at(0)}), 0)))
		var words []string
		for _, r := range got.records {
			words = append(words, fmt.Sprintf("%s %v %v", r.Interface.ID[len(r.Interface.ID)-1:], r.Action, r.Status))
		}
		if s := strings.Join(words, ", "); s != test.want {
			t.Errorf("%s %s: %s, want %s", test.resource, test.traffic, s, test.want)
		}
	}
}

func TestSkipDataPassesEveryTrafficType(t *testing.T) {
	s := subscription{flowLog: flowLog("fl-1", web1, "REJECT")}
	i, w := testInterface(web1, "10.0.1.10"), Window{0, 60}
	s.choose([]Record{{Interface: i, Window: w, Flow: Flow{Action: Accept}}, {Interface: i, Window: w, Status: SkipData}})
	if len(s.chosen) != 1 || s.chosen[0].Status != SkipData {
		t.Errorf("%+v", s.chosen)
	}
	// two windows of one interface are told apart
	s.choose([]Record{{Interface: i, Window: w, Flow: Flow{Action: Reject}}, {Interface: i, Window: Window{60, 120}, Flow: Flow{Action: Accept}}})
	if len(s.chosen) != 2 || s.chosen[1].Status != NoData || s.chosen[1].Window.Start != 60 {
		t.Errorf("%+v", s.chosen)
	}
}

// collect is a Destination that keeps records, and fails when told to.
type collect struct {
	records     []Record
	ticks       []int64
	closed      int
	lost        int
	err         error
	flowLog     *vpc.FlowLog
	formatNames string
}

func (c *collect) open(fl *vpc.FlowLog, f *Format) (Destination, error) {
	c.flowLog, c.formatNames = fl, f.Header()
	return c, nil
}

func (c *collect) Deliver(records []Record) (int, error) {
	c.records = append(c.records, records...)
	return c.lost, c.err
}
func (c *collect) Tick(now int64) (int, error) {
	c.ticks = append(c.ticks, now)
	return c.lost, c.err
}
func (c *collect) Close() (int, error) { c.closed++; return c.lost, c.err }

func TestSubscriptionsComeAndGo(t *testing.T) {
	var one, two collect
	p, _ := newPublisher(t, func(c *PublisherConfig) { c.Destinations = map[string]Opener{"one": one.open, "two": two.open} })
	first := flowLog("fl-1", web1, "ALL", func(fl *vpc.FlowLog) { fl.LogDestinationType = "one" })
	second := flowLog("fl-2", web1, "ALL", func(fl *vpc.FlowLog) { fl.LogDestinationType, fl.LogFormat = "two", "${bytes} ${action}" })
	must(t, p.SetSubscriptions([]*vpc.FlowLog{first, second}))
	if one.formatNames != version2 || two.formatNames != "bytes action" {
		t.Errorf("formats %q, %q", one.formatNames, two.formatNames)
	}
	a := NewAggregator(Config{Start: at(0)})
	must(t, p.Consume(sealed(a, 0)))
	must(t, p.SetSubscriptions([]*vpc.FlowLog{second}))
	if one.closed != 1 || two.closed != 0 {
		t.Errorf("closed %d, %d", one.closed, two.closed)
	}
	two.err, two.lost = errors.New("disk full"), 1
	if err := p.Consume(sealed(a, 1)); err == nil || !strings.Contains(err.Error(), "flow log fl-2: disk full") {
		t.Errorf("%v", err)
	}
	if err := p.Err("fl-2"); err == nil {
		t.Error("status does not show the error")
	}
	two.err, two.lost = nil, 0
	must(t, p.Tick(5))
	must(t, p.Err("fl-2"))
	must(t, p.Err("fl-1"))
	if len(one.records) != 1 || len(two.records) != 2 || len(two.ticks) != 1 {
		t.Errorf("%d and %d records, ticks %v", len(one.records), len(two.records), two.ticks)
	}
	if got := p.Stats(); got != (PublisherStats{Records: 3, Lost: 1}) {
		t.Errorf("%+v", got)
	}
}

func TestWrongSubscriptions(t *testing.T) {
	good := flowLog("fl-1", web1, "ALL")
	for field, edit := range map[string]func(*vpc.FlowLog){
		"TrafficType":        func(fl *vpc.FlowLog) { fl.TrafficType = "SOME" },
		"LogDestinationType": func(fl *vpc.FlowLog) { fl.LogDestinationType = "cloud-watch-logs" },
		"LogFormat":          func(fl *vpc.FlowLog) { fl.LogFormat = "${bogus}" },
		"LogDestination":     func(fl *vpc.FlowLog) { fl.LogDestination = "arn:aws:s3:::my-logs/AWSLogs/" },
	} {
		p, _ := newPublisher(t)
		err := p.SetSubscriptions([]*vpc.FlowLog{flowLog("fl-2", web1, "ALL", edit), good})
		e, ok := errors.AsType[*vpc.Error](err)
		if !ok || e.Field != field || e.Hint == "" {
			t.Errorf("%s: %v", field, err)
		}
		if len(p.subscriptions) != 1 {
			t.Errorf("%s: the good one is missing", field)
		}
	}
}

func TestLayout(t *testing.T) {
	const file = "123456789012_vpcflowlogs_us-east-1_fl-0123456789abcdef0_20231114T2215Z_"
	for want, edit := range map[string]func(*vpc.FlowLog){
		"my-logs/AWSLogs/123456789012/vpcflowlogs/us-east-1/2023/11/14/" + file:                                                      func(*vpc.FlowLog) {},
		"my-logs/a/b/AWSLogs/123456789012/vpcflowlogs/us-east-1/2023/11/14/" + file:                                                  func(fl *vpc.FlowLog) { fl.LogDestination += "/a/b/" },
		"my-logs/AWSLogs/123456789012/vpcflowlogs/us-east-1/2023/11/14/22/" + file:                                                   func(fl *vpc.FlowLog) { fl.PerHourPartition = true },
		"my-logs/AWSLogs/aws-account-id=123456789012/aws-service=vpcflowlogs/aws-region=us-east-1/year=2023/month=11/day=14/" + file: func(fl *vpc.FlowLog) { fl.HiveCompatible = true },
		"my-logs/AWSLogs/aws-account-id=123456789012/aws-service=vpcflowlogs/aws-region=us-east-1/year=2023/month=11/day=14/hour=22/" + file: func(fl *vpc.FlowLog) {
			fl.HiveCompatible, fl.PerHourPartition = true, true
		},
	} {
		p, dir := newPublisher(t)
		must(t, p.SetSubscriptions([]*vpc.FlowLog{flowLog("fl-0123456789abcdef0", web1, "ALL", edit)}))
		must(t, p.Consume(sealed(NewAggregator(Config{Start: at(0)}), 0)))
		must(t, p.Close())
		for path := range published(t, dir) {
			if !strings.HasPrefix(path, want) {
				t.Errorf("%s, want %s...", path, want)
			}
			want = ""
		}
		if want != "" {
			t.Errorf("no file %s", want)
		}
	}
}

func TestTheSameTextAgainGetsAnotherName(t *testing.T) {
	dir := t.TempDir()
	for range 3 { // three runs of an agent in the same five minutes
		p, _ := newPublisher(t, func(c *PublisherConfig) { c.Dir = dir })
		must(t, p.SetSubscriptions([]*vpc.FlowLog{flowLog("fl-01", web1, "ALL")}))
		must(t, p.Consume(sealed(NewAggregator(Config{Start: at(0)}), 0)))
		must(t, p.Close())
	}
	if got := published(t, dir); len(got) != 3 {
		t.Errorf("%d files: %v", len(got), got)
	}
}

func TestLateRecordsGoToAnotherFile(t *testing.T) {
	p, dir := newPublisher(t)
	must(t, p.SetSubscriptions([]*vpc.FlowLog{flowLog("fl-01", web1, "ALL")}))
	batch := sealed(NewAggregator(Config{Start: at(0)}), 0)
	must(t, p.Consume(batch))
	must(t, p.Tick(at(600)))
	batch[0].Packets = 5
	must(t, p.Consume(batch))
	must(t, p.Tick(at(601)))
	if got := published(t, dir); len(got) != 2 {
		t.Errorf("%v", got)
	}
}

func TestFilesStayBelowTheLimit(t *testing.T) {
	const limit = 20_000
	p, dir := newPublisher(t, func(c *PublisherConfig) { c.MaxFileBytes = limit })
	must(t, p.SetSubscriptions([]*vpc.FlowLog{flowLog("fl-01", web1, "ALL", func(fl *vpc.FlowLog) {
		fl.LogFormat = "${srcaddr} ${bytes} ${packets} ${interface-id} ${account-id}"
	})}))
	r := rand.New(rand.NewPCG(1, 2))
	var batch []Record
	i := testInterface(web1, "10.0.1.10")
	for n := range 3000 { // hardly compresses
		rec := Record{Interface: i, Flow: *web(1, 1), Window: Window{base, base + 60}, End: base + 60}
		for b := range rec.Tuple.Src {
			rec.Tuple.Src[b] = byte(r.Uint32())
		}
		rec.Packets, rec.Bytes = uint64(n), r.Uint64()
		batch = append(batch, rec)
	}
	must(t, p.Consume(batch))
	must(t, p.Close())
	files, err := List(dir)
	must(t, err)
	var packets []uint64
	for n, f := range files {
		if f.Size > limit {
			t.Errorf("%s has %d bytes", f.Path, f.Size)
		}
		rows, skipped, err := ReadFile(f.Path)
		if err != nil || skipped != 0 {
			t.Fatal(err, skipped)
		}
		if n == 0 && f.Size < limit*2/3 {
			t.Errorf("%s wastes room: %d bytes", f.Path, f.Size)
		}
		for _, row := range rows {
			v, _ := row.Number("packets")
			packets = append(packets, v)
		}
	}
	slices.Sort(packets)
	if len(files) < 3 || len(packets) != 3000 || packets[2999] != 2999 || len(slices.Compact(packets)) != 3000 {
		t.Errorf("%d files, %d records", len(files), len(packets))
	}
}

func TestUnfinishedFilesAreRemovedAtTheStart(t *testing.T) {
	p, dir := newPublisher(t)
	must(t, p.SetSubscriptions([]*vpc.FlowLog{flowLog("fl-01", web1, "ALL")}))
	must(t, p.Consume(sealed(NewAggregator(Config{Start: at(0)}), 0))) // and then the power goes
	if left, _ := os.ReadDir(filepath.Join(dir, partialDir)); len(left) != 1 {
		t.Fatalf("%v", left)
	}
	_, err := NewPublisher(PublisherConfig{Dir: dir})
	must(t, err)
	if left, _ := os.ReadDir(filepath.Join(dir, partialDir)); len(left) != 0 {
		t.Errorf("%v", left)
	}
	if got := published(t, dir); len(got) != 0 {
		t.Errorf("%v", got)
	}
}

func TestAFileInTheWay(t *testing.T) {
	p, dir := newPublisher(t)
	must(t, p.SetSubscriptions([]*vpc.FlowLog{flowLog("fl-01", web1, "ALL")}))
	must(t, os.WriteFile(filepath.Join(dir, "my-logs"), nil, 0o600)) // where the bucket's folder should be
	a := NewAggregator(Config{Start: at(0)})
	must(t, p.Consume(sealed(a, 0)))
	if err := p.Tick(at(600)); err == nil {
		t.Error("no error")
	}
	if p.Err("fl-01") == nil {
		t.Error("status does not show it")
	}
	must(t, os.Remove(filepath.Join(dir, "my-logs")))
	must(t, p.Tick(at(601))) // tried again
	if got := published(t, dir); len(got) != 1 || p.Stats().Lost != 0 {
		t.Errorf("%v, %+v", got, p.Stats())
	}
	must(t, os.WriteFile(filepath.Join(dir, "other"), nil, 0o600))
	must(t, p.SetSubscriptions([]*vpc.FlowLog{flowLog("fl-02", web1, "ALL", func(fl *vpc.FlowLog) { fl.LogDestination = "other" })}))
	must(t, p.Consume(sealed(a, 1)))
	if err := p.Close(); err == nil || p.Stats().Lost != 1 {
		t.Errorf("%v, %+v", err, p.Stats())
	}
}

func TestADiskThatFails(t *testing.T) {
	p, dir := newPublisher(t)
	must(t, p.SetSubscriptions([]*vpc.FlowLog{flowLog("fl-01", "vpc-abcdefab012345678", "ALL")}))
	a := NewAggregator(Config{Start: at(0)})
	must(t, p.Consume(sealed(a, 0)))
	for _, s := range p.subscriptions {
		for _, f := range s.to.(*files).open {
			f.f.Close() // the next write to it fails
		}
	}
	if err := p.Tick(at(600)); err == nil || p.Stats().Lost != 2 {
		t.Errorf("%v, %+v", err, p.Stats())
	}
	if left, _ := os.ReadDir(filepath.Join(dir, partialDir)); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	must(t, os.RemoveAll(filepath.Join(dir, partialDir)))
	must(t, os.WriteFile(filepath.Join(dir, partialDir), nil, 0o600)) // no file can be made
	if err := p.Consume(sealed(a, 1)); err == nil || p.Stats().Lost != 4 {
		t.Errorf("%v, %+v", err, p.Stats())
	}
	must(t, os.Remove(filepath.Join(dir, partialDir)))
	must(t, p.Consume(sealed(a, 2)))
	must(t, p.Close())
	if got := published(t, dir); len(got) != 1 || p.Stats() != (PublisherStats{Records: 6, Lost: 4}) {
		t.Errorf("%v, %+v", got, p.Stats())
	}
}

func TestAFullFileThatFailsTakesTheNextRecordAlong(t *testing.T) {
	p, _ := newPublisher(t, func(c *PublisherConfig) { c.MaxFileBytes = 1 }) // a file for each record
	must(t, p.SetSubscriptions([]*vpc.FlowLog{flowLog("fl-01", "vpc-abcdefab012345678", "ALL")}))
	a := NewAggregator(Config{Start: at(0)})
	must(t, p.Consume(sealed(a, 0)))
	for _, f := range p.subscriptions["fl-01"].to.(*files).open {
		f.f.Close()
	}
	// the second file fails, then the record that comes next and the one after it have nowhere to go
	if err := p.Consume(sealed(a, 1)); err == nil || p.Stats() != (PublisherStats{Records: 4, Lost: 3}) {
		t.Errorf("%v, %+v", err, p.Stats())
	}
}

func TestParseBucket(t *testing.T) {
	for in, want := range map[string]Bucket{
		"arn:aws:s3:::my-logs":           {"my-logs", ""},
		"arn:aws:s3:::my-logs/":          {"my-logs", ""},
		"arn:aws-cn:s3:::my-logs/a/b c/": {"my-logs", "a/b c"},
		"my.logs.1":                      {"my.logs.1", ""},
		"my-logs/AWSLogs2":               {"my-logs", "AWSLogs2"},
	} {
		if got, err := ParseBucket(in); err != nil || got != want {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
	}
	for in, hint := range map[string]string{
		"":                                    "3 to 63",
		"ab":                                  "3 to 63",
		"My-Logs":                             "3 to 63",
		"a..b":                                "3 to 63",
		"../etc":                              "3 to 63",
		"-abc":                                "3 to 63",
		strings.Repeat("a", 64):               "3 to 63",
		"arn:aws:s3:::":                       "3 to 63",
		"arn:aws:sqs:::my-logs":               "ARN is",
		"arn:aws:s3:us-east-1:1234:my-logs":   "ARN is",
		"arn:aws:s3":                          "ARN is",
		"my-logs/AWSLogs":                     "reserved",
		"my-logs/a/AWSLogs/b":                 "reserved",
		"my-logs/../../etc":                   "..",
		"my-logs/a//b":                        "empty",
		"my-logs//":                           "empty",
		"my-logs/./a":                         "empty",
		"my-logs/a\x00b":                      "no folder can have",
		"my-logs/a\\b":                        "no folder can have",
		"my-logs/\xff":                        "no folder can have",
		"my-logs/" + strings.Repeat("a", 256): "no folder can have",
	} {
		_, err := ParseBucket(in)
		e, ok := errors.AsType[*vpc.Error](err)
		if !ok || e.Field != "LogDestination" || !strings.Contains(e.Hint, hint) {
			t.Errorf("%q: %v, want a hint of %q", in, err, hint)
		}
	}
}

func TestList(t *testing.T) {
	if got, err := List(filepath.Join(t.TempDir(), "none")); len(got) != 0 || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	p, dir := newPublisher(t)
	must(t, p.SetSubscriptions([]*vpc.FlowLog{
		flowLog("fl-01", web1, "ALL", func(fl *vpc.FlowLog) { fl.LogDestination += "/x" }), flowLog("fl-02", web1, "REJECT")}))
	a := NewAggregator(Config{Start: at(0)})
	for minute := range int64(7) {
		must(t, p.Consume(sealed(a, minute)))
	}
	must(t, os.WriteFile(filepath.Join(dir, "my-logs-notes.txt"), nil, 0o600))
	must(t, p.Tick(at(360)))
	must(t, os.WriteFile(filepath.Join(dir, partialDir, "123456789012_vpcflowlogs_us-east-1_fl-1234abcd_20180620T1620Z_fe123456.log.gz"), nil, 0o600))
	got, err := List(dir)
	must(t, err)
	var words []string
	for _, f := range got {
		words = append(words, f.FlowLogID+" "+f.Time.Format(nameTime)+" "+f.Bucket+" "+f.Account+" "+f.Region)
		if _, err := os.Stat(filepath.Join(dir, f.Bucket, f.Key)); err != nil || f.Size == 0 {
			t.Errorf("%+v: %v", f, err)
		}
	}
	want := []string{"fl-02 20231114T2215Z my-logs 123456789012 us-east-1", "fl-01 20231114T2215Z my-logs 123456789012 us-east-1"}
	if !slices.Equal(words, want) {
		t.Errorf("%q", words)
	}
	must(t, p.Close())
	if got, _ := List(dir); len(got) != 4 || !got[1].Time.Equal(got[0].Time) || !got[2].Time.After(got[1].Time) {
		t.Errorf("%v", got)
	}
}

func TestParseFileName(t *testing.T) {
	got, ok := ParseFileName("123456789012_vpcflowlogs_us-east-1_fl-1234abcd_20180620T1620Z_fe123456.log.gz")
	if !ok || got.Account != "123456789012" || got.Region != "us-east-1" || got.FlowLogID != "fl-1234abcd" ||
		got.Hash != "fe123456" || got.Time.Unix() != 1529511600 {
		t.Errorf("%+v, %v", got, ok)
	}
	for _, name := range []string{"", "x.log.gz", "123456789012_vpcflowlogs_us-east-1_fl-1234abcd_20181320T1620Z_fe123456.log.gz",
		"123456789012_vpcflowlogs_us-east-1_fl-1234abcd_20180620T1620Z_fe123456.log.gz.tmp"} {
		if _, ok := ParseFileName(name); ok {
			t.Errorf("%q was taken", name)
		}
	}
}
