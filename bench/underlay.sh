# Two-node overlays: a TUN device is eth0, and a veth pair u0 joins the two
# namespaces below it. 10.99.0.0/24 is split so that nothing leaves it.
. "$(dirname "$0")/../lib.sh"
ADDR_A=10.99.0.11/25 ADDR_B=10.99.0.12/25
UNDER_A=10.99.0.129 UNDER_B=10.99.0.130
underlay() {
  ip -n "$A" link add u0 type veth peer name u0 netns "$B"
  ip -n "$A" addr add $UNDER_A/30 dev u0; ip -n "$A" link set u0 up
  ip -n "$B" addr add $UNDER_B/30 dev u0; ip -n "$B" link set u0 up
}
