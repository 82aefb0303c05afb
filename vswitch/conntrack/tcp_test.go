package conntrack_test

import (
	"testing"

	"github.com/vpclab/vpclab/vswitch/conntrack"
)

const opened = `
> SYN seq=0                       : SYN_SENT
< SYN ACK seq=500 ack=1           : SYN_RECV
> ACK seq=1 ack=501               : ESTABLISHED
> PSH ACK seq=1 ack=501 len=100   : ESTABLISHED
< PSH ACK seq=501 ack=101 len=50  : ESTABLISHED
> ACK seq=101 ack=551             : ESTABLISHED
`

// closedInOrder is an active close by the opener.
const closedInOrder = opened + `
> FIN ACK seq=101 ack=551         : FIN_WAIT
< ACK seq=551 ack=102             : FIN_WAIT
< FIN ACK seq=551 ack=102         : LAST_ACK
> ACK seq=102 ack=552             : TIME_WAIT
`

func TestTCP(t *testing.T) {
	tests := []struct{ name, script string }{
		{"orderly close", closedInOrder},
		{"three-way close", opened + `
			> FIN ACK seq=101 ack=551      : FIN_WAIT
			< FIN ACK seq=551 ack=102      : LAST_ACK
			> ACK seq=102 ack=552          : TIME_WAIT`},
		{"passive close with data", opened + `
			< FIN PSH ACK seq=551 ack=101 len=20 : FIN_WAIT
			> FIN ACK seq=101 ack=572      : LAST_ACK
			< ACK seq=572 ack=102          : TIME_WAIT`},
		{"half-closed for long", opened + `
			> FIN ACK seq=101 ack=551      : FIN_WAIT
			< ACK seq=551 ack=102          : FIN_WAIT
			< ACK seq=551 ack=102 len=1000 : FIN_WAIT
			wait 100s
			> ACK seq=102 ack=1551         : FIN_WAIT
			wait 100s
			< PSH ACK seq=1551 ack=102 len=9 : FIN_WAIT
			> ACK seq=102 ack=1560         : FIN_WAIT
			< FIN ACK seq=1560 ack=102     : LAST_ACK
			> ACK seq=102 ack=1561         : TIME_WAIT`},
		{"simultaneous close", opened + `
			> FIN ACK seq=101 ack=551      : FIN_WAIT
			< FIN ACK seq=551 ack=101      : LAST_ACK
			> ACK seq=102 ack=552          : LAST_ACK
			< ACK seq=552 ack=102          : TIME_WAIT`},
		{"simultaneous open", `
			> SYN seq=0                    : SYN_SENT
			< SYN seq=500                  : SYN_RECV
			> SYN ACK seq=0 ack=501        : ESTABLISHED
			< SYN ACK seq=500 ack=1        : ESTABLISHED
			> ACK seq=1 ack=501 len=5      : ESTABLISHED`},
		{"handshake packets again", `
			> SYN seq=0                    : SYN_SENT
			wait 1s
			> SYN seq=0                    : SYN_SENT
			< SYN ACK seq=500 ack=1        : SYN_RECV
			> SYN seq=0                    : SYN_RECV
			< SYN ACK seq=500 ack=1        : SYN_RECV
			> ACK seq=1 ack=501            : ESTABLISHED
			< SYN ACK seq=500 ack=1        : ESTABLISHED
			> ACK seq=1 ack=501            : ESTABLISHED
			> SYN seq=0                    : ESTABLISHED`},
		{"the opener's ACK means nothing before an answer", `
			> SYN seq=0                    : SYN_SENT
			> ACK seq=1 ack=501            : SYN_SENT
			> SYN ACK seq=1 ack=501        : SYN_SENT
			> FIN ACK seq=1 ack=501        : SYN_SENT
			< ACK seq=500 ack=1            : SYN_SENT`},
		{"refused", `
			> SYN seq=0                    : SYN_SENT
			< RST ACK seq=0 ack=1          : CLOSE
			< RST ACK seq=0 ack=1          : CLOSE
			wait 1s
			> SYN seq=0                    : reopen
			< RST ACK seq=0 ack=1          : CLOSE`},
		{"scanner: SYN, SYN ACK, RST", `
			> SYN seq=0
			< SYN ACK seq=500 ack=1
			> RST seq=1                    : CLOSE
			< SYN ACK seq=500 ack=1        : closed
			< ACK seq=501 ack=1            : closed`},
		{"reset while open", opened + `
			< RST seq=551                  : CLOSE
			> RST ACK seq=101 ack=551      : CLOSE
			> PSH ACK seq=101 ack=551 len=9 : closed
			> ACK seq=101 ack=551          : closed
			> FIN ACK seq=101 ack=551      : closed
			< ACK seq=551 ack=101          : closed`},
		{"last ACK lost behind the interface", closedInOrder + `
			wait 200ms
			< FIN ACK seq=551 ack=102      : TIME_WAIT
			> ACK seq=102 ack=552          : TIME_WAIT
			wait 400ms
			< FIN ACK seq=551 ack=102      : TIME_WAIT
			> ACK seq=102 ack=552          : TIME_WAIT`},
		{"last ACK lost before the interface", opened + `
			> FIN ACK seq=101 ack=551
			< ACK seq=551 ack=102
			< FIN ACK seq=551 ack=102      : LAST_ACK
			< FIN ACK seq=551 ack=102      : LAST_ACK
			> ACK seq=102 ack=552          : TIME_WAIT`},
		{"last data and FIN again", opened + `
			> FIN ACK seq=101 ack=551
			< ACK seq=551 ack=102 len=300
			< FIN PSH ACK seq=851 ack=102 len=100 : LAST_ACK
			> ACK seq=102 ack=551                 : LAST_ACK
			< ACK seq=551 ack=102 len=300         : LAST_ACK
			> ACK seq=102 ack=952                 : TIME_WAIT
			< ACK seq=551 ack=102 len=300         : TIME_WAIT
			< FIN PSH ACK seq=851 ack=102 len=100 : TIME_WAIT
			< FIN PSH ACK seq=551 ack=102 len=400 : TIME_WAIT
			> ACK seq=102 ack=952                 : TIME_WAIT`},
		{"bulk lost behind the interface after both FINs", opened + `
			> FIN ACK seq=101 ack=551
			< ACK seq=551 ack=102 len=60000
			< FIN ACK seq=60551 ack=102 len=5000  : LAST_ACK
			> ACK seq=102 ack=551                 : LAST_ACK
			> ACK seq=102 ack=551                 : LAST_ACK
			< PSH ACK seq=551 ack=102 len=1460    : LAST_ACK
			> ACK seq=102 ack=65551               : LAST_ACK
			> ACK seq=102 ack=65552               : TIME_WAIT`},
		{"RST answers what comes when the socket is gone", opened + `
			> FIN ACK seq=101 ack=551             : FIN_WAIT
			< ACK seq=551 ack=102                 : FIN_WAIT
			< PSH ACK seq=551 ack=102 len=10      : FIN_WAIT
			< FIN ACK seq=561 ack=102             : LAST_ACK
			> RST seq=102                         : CLOSE
			> RST seq=102                         : CLOSE`},
		{"RST crosses the other side's FIN", opened + `
			> FIN ACK seq=101 ack=551             : FIN_WAIT
			< PSH ACK seq=551 ack=102 len=10      : FIN_WAIT
			> RST seq=102                         : CLOSE
			< FIN ACK seq=561 ack=102             : CLOSE
			> RST seq=102                         : CLOSE
			< PSH ACK seq=561 ack=102 len=10      : closed`},
		{"late RST after an orderly close", closedInOrder + `
			> RST seq=102                         : TIME_WAIT
			< RST seq=552                         : TIME_WAIT
			< PSH ACK seq=552 ack=102 len=1       : closed`},
		{"new data after an orderly close", closedInOrder + `
			> PSH ACK seq=102 ack=552 len=1       : closed
			> ACK seq=101 ack=552 len=3           : closed
			> FIN PSH ACK seq=102 ack=552 len=1   : closed
			< PSH ACK seq=552 ack=102 len=1       : closed
			< ACK seq=552 ack=102 len=1460        : closed
			< SYN ACK seq=552 ack=102             : closed
			> ACK seq=102 ack=552                 : TIME_WAIT`},
		{"closed does not keep the half alive", closedInOrder + `
			wait 119s
			> PSH ACK seq=102 ack=552 len=1       : closed
			wait 2s
			> PSH ACK seq=102 ack=552 len=1       : expired`},
		{"ports used again", closedInOrder + `
			> SYN seq=90000                       : reopen
			< SYN ACK seq=7000 ack=90001          : SYN_RECV
			> ACK seq=90001 ack=7001              : ESTABLISHED
			> FIN ACK seq=90001 ack=7001          : FIN_WAIT
			< FIN ACK seq=7001 ack=90002          : LAST_ACK
			> ACK seq=90002 ack=7002              : TIME_WAIT`},
		{"ports used again by the other side", closedInOrder + `
			< SYN seq=90000                       : reopen
			> SYN ACK seq=7000 ack=90001          : SYN_RECV
			< ACK seq=90001 ack=7001              : ESTABLISHED`},
		{"SYN after both FINs", opened + `
			> FIN ACK seq=101 ack=551
			< FIN ACK seq=551 ack=102             : LAST_ACK
			> SYN seq=90000                       : reopen
			< ACK seq=552 ack=102                 : SYN_SENT
			> RST seq=102                         : CLOSE
			> SYN seq=90000                       : reopen`},
		{"SYN on a half-closed connection", opened + `
			> FIN ACK seq=101 ack=551             : FIN_WAIT
			> SYN seq=90000                       : FIN_WAIT
			< ACK seq=551 ack=102                 : FIN_WAIT
			> RST seq=102                         : CLOSE`},
		{"server closes before the handshake's last ACK", `
			> SYN seq=0
			< SYN ACK seq=500 ack=1
			< FIN ACK seq=501 ack=1               : SYN_RECV
			> ACK seq=1 ack=502                   : FIN_WAIT
			> FIN ACK seq=1 ack=502               : LAST_ACK
			< ACK seq=502 ack=2                   : TIME_WAIT`},
		{"picked up", `
			> ACK seq=1000 ack=2000 len=10        : ESTABLISHED
			< ACK seq=2000 ack=1010               : ESTABLISHED
			> FIN ACK seq=1010 ack=2000           : FIN_WAIT
			< FIN ACK seq=2000 ack=1011           : LAST_ACK
			> ACK seq=1011 ack=2001               : TIME_WAIT`},
		{"picked up at the FIN", `
			> FIN ACK seq=1000 ack=2000           : ESTABLISHED
			< ACK seq=2000 ack=1001               : FIN_WAIT
			< FIN ACK seq=2000 ack=1001           : LAST_ACK
			> ACK seq=1001 ack=2001               : TIME_WAIT`},
		{"picked up at the last ACK", `
			> ACK seq=1000 ack=2000               : ESTABLISHED
			> SYN seq=9                           : reopen
			< SYN ACK seq=5 ack=10                : SYN_RECV`},
		{"picked up at an RST", `
			> RST seq=1000                        : CLOSE
			< ACK seq=5 ack=10                    : closed
			> SYN seq=9                           : reopen`},
		{"sequence numbers wrap", `
			> SYN seq=4294967290
			< SYN ACK seq=4294967295 ack=4294967291
			> ACK seq=4294967291 ack=0
			> FIN ACK seq=4294967291 ack=0 len=10 : FIN_WAIT
			< FIN ACK seq=0 ack=6                 : LAST_ACK
			> ACK seq=6 ack=1                     : TIME_WAIT
			> FIN ACK seq=4294967291 ack=0 len=10 : TIME_WAIT
			> ACK seq=4294967291 ack=0 len=8      : TIME_WAIT
			> ACK seq=5 ack=1 len=5               : closed`},
	}
	for _, test := range tests {
		for _, opener := range []conntrack.Dir{conntrack.Out, conntrack.In} {
			t.Run(test.name, func(t *testing.T) { script(t, opener, test.script) })
		}
	}
}
