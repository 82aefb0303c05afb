package flowlogs

import (
	"fmt"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/vpclab/vpclab/vpc"
)

// Bucket is where files go: an S3 bucket, and a folder in it that may be "".
type Bucket struct{ Name, Prefix string }

// bucketName is the rule of the S3 user guide, "General purpose bucket naming rules".
var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

// ParseBucket reads a subscription's LogDestination: "arn:aws:s3:::bucket", "arn:aws:s3:::bucket/prefix/",
// or the same without the ARN's beginning. The prefix must not use AWSLogs as a folder's name, which
// AWS keeps for itself. Errors are *vpc.Error with the field "LogDestination".
func ParseBucket(destination string) (Bucket, error) {
	rest := destination
	if strings.HasPrefix(rest, "arn:") {
		parts := strings.SplitN(rest, ":", 6)
		if len(parts) < 6 || !strings.HasPrefix(parts[1], "aws") || parts[2] != "s3" || parts[3]+parts[4] != "" {
			return Bucket{}, bucketError(destination, "an S3 bucket's ARN is arn:aws:s3:::bucket or arn:aws:s3:::bucket/prefix")
		}
		rest = parts[5]
	}
	name, prefix, _ := strings.Cut(rest, "/")
	if !bucketName.MatchString(name) || strings.Contains(name, "..") {
		return Bucket{}, bucketError(destination, "a bucket's name has 3 to 63 small letters, digits, dots and dashes")
	}
	if prefix != "/" { // which would be a folder without a name
		prefix = strings.TrimSuffix(prefix, "/")
	}
	if hint := prefixHint(prefix); hint != "" {
		return Bucket{}, bucketError(destination, hint)
	}
	return Bucket{name, prefix}, nil
}

// prefixHint says what is wrong with a prefix; "" if nothing is. Prefixes become folders of this
// machine, so that a part that means something to it is refused.
func prefixHint(prefix string) string {
	if prefix == "" {
		return ""
	}
	for part := range strings.SplitSeq(prefix, "/") {
		switch {
		case part == "AWSLogs":
			return "AWSLogs is a reserved folder name"
		case part == "" || part == "." || part == "..":
			return "a folder of the prefix is empty, . or .."
		case len(part) > 255 || strings.ContainsFunc(part, func(r rune) bool { return r < ' ' || r == '\\' || r == 0x7f || r == 0xfffd }):
			return "a folder of the prefix has characters that no folder can have, or more than 255"
		}
	}
	return ""
}

func bucketError(destination, hint string) error {
	return &vpc.Error{
		Code:    "InvalidParameter",
		Message: fmt.Sprintf("LogDestination: %s is not a valid bucket and folder", destination),
		Field:   "LogDestination",
		Hint:    hint,
	}
}

// layout names the files of one subscription as AWS does.
type layout struct {
	bucket                     Bucket
	account, region, flowLogID string
	hive, perHour              bool
}

// folder gives the folder, below the one of the buckets, for files of a time.
func (l *layout) folder(at time.Time) string {
	format := "%s/vpcflowlogs/%s/%04d/%02d/%02d"
	hour := "%02d"
	if l.hive {
		format = "aws-account-id=%s/aws-service=vpcflowlogs/aws-region=%s/year=%04d/month=%02d/day=%02d"
		hour = "hour=%02d"
	}
	dir := fmt.Sprintf(format, l.account, l.region, at.Year(), at.Month(), at.Day())
	if l.perHour {
		dir = path.Join(dir, fmt.Sprintf(hour, at.Hour()))
	}
	return path.Join(l.bucket.Name, l.bucket.Prefix, "AWSLogs", dir)
}

const nameTime = "20060102T1504Z"

func (l *layout) name(at time.Time, hash uint32) string {
	return fmt.Sprintf("%s_vpcflowlogs_%s_%s_%s_%08x.log.gz", l.account, l.region, l.flowLogID, at.Format(nameTime), hash)
}
