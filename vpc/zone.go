package vpc

import "strings"

// zones says how many Availability Zones a Region has, where it is not three. Their names are a, b, c and so on.
var zones = map[string]int{"us-east-1": 6, "us-west-1": 2, "us-west-2": 4, "ap-northeast-1": 4, "ap-northeast-2": 4}

// Zones lists the names of a Region's Availability Zones: "us-east-1a", ...
func Zones(region string) []string {
	n, ok := zones[region]
	if !ok {
		n = 3
	}
	out := make([]string, n)
	for i := range out {
		out[i] = region + string(rune('a'+i))
	}
	return out
}

// compass shortens the word for the part of the world in a Region's name.
var compass = map[string]string{
	"north": "n", "south": "s", "east": "e", "west": "w", "central": "c",
	"northeast": "ne", "southeast": "se", "northwest": "nw", "southwest": "sw",
}

// ZoneID is the id of an Availability Zone: "use1-az1" for "us-east-1a", "apse2-az3" for "ap-southeast-2c". Which name
// is which id differs by account in AWS; here they go in order.
func ZoneID(zone string) string {
	if zone == "" {
		return ""
	}
	letter := zone[len(zone)-1]
	if letter < 'a' || letter > 'z' {
		return zone
	}
	var id strings.Builder
	for i, part := range strings.Split(zone[:len(zone)-1], "-") {
		switch short, ok := compass[part]; {
		case ok:
			id.WriteString(short)
		case i > 0 && part == "gov":
			id.WriteByte('g')
		default:
			id.WriteString(part)
		}
	}
	return id.String() + "-az" + string(rune('1'+letter-'a'))
}
