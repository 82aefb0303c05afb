package vpc

// service is a well-known port by which a rule may be called.
type service struct {
	name    string // canonical
	proto   int
	port    int
	aliases []string
}

// services are the types of the AWS console's rule editor that stand for one port, and a few
// ports which labs use often. The first name of a port is the one that is printed.
// Source: EC2 console, "Edit inbound rules", column Type.
var services = []service{
	{name: "ssh", proto: protoTCP, port: 22},
	{name: "smtp", proto: protoTCP, port: 25},
	{name: "dns (udp)", proto: protoUDP, port: 53, aliases: []string{"dns"}},
	{name: "dns (tcp)", proto: protoTCP, port: 53},
	{name: "http", proto: protoTCP, port: 80},
	{name: "pop3", proto: protoTCP, port: 110},
	{name: "imap", proto: protoTCP, port: 143},
	{name: "ldap", proto: protoTCP, port: 389},
	{name: "https", proto: protoTCP, port: 443},
	{name: "smb", proto: protoTCP, port: 445},
	{name: "smtps", proto: protoTCP, port: 465},
	{name: "imaps", proto: protoTCP, port: 993},
	{name: "pop3s", proto: protoTCP, port: 995},
	{name: "mssql", proto: protoTCP, port: 1433},
	{name: "oracle-rds", proto: protoTCP, port: 1521, aliases: []string{"oracle"}},
	{name: "elastic-graphics", proto: protoTCP, port: 2007},
	{name: "nfs", proto: protoTCP, port: 2049},
	{name: "mysql", proto: protoTCP, port: 3306, aliases: []string{"mysql/aurora", "aurora"}},
	{name: "rdp", proto: protoTCP, port: 3389},
	{name: "postgres", proto: protoTCP, port: 5432, aliases: []string{"postgresql"}},
	{name: "redshift", proto: protoTCP, port: 5439},
	{name: "winrm-http", proto: protoTCP, port: 5985},
	{name: "winrm-https", proto: protoTCP, port: 5986},

	{name: "telnet", proto: protoTCP, port: 23},
	{name: "ntp", proto: protoUDP, port: 123},
	{name: "redis", proto: protoTCP, port: 6379},
	{name: "memcached", proto: protoTCP, port: 11211},
	{name: "mongodb", proto: protoTCP, port: 27017},
}

var serviceByPort = map[[2]int]string{}

func init() {
	for _, s := range services {
		serviceByPort[[2]int{s.proto, s.port}] = s.name
	}
}

// ServiceName is the name of a well-known port, "" if it has none: ServiceName(6, 5432) is
// "postgres". Both ports of DNS are "dns".
func ServiceName(proto, port int) string {
	if port == 53 && (proto == protoTCP || proto == protoUDP) {
		return "dns"
	}
	return serviceByPort[[2]int{proto, port}]
}
