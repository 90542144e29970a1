package envoy

import (
	xdsv3 "github.com/cncf/xds/go/xds/core/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// localAddresses are those of the machine itself and of its link, and all of
// IPv4 in IPv6's clothes, which nobody needs. Envoy applies them to what a name
// resolves to, now and at each later look-up, and to an address that stands in
// the URL (1.40.0, measured).
func localAddresses() *matcherv3.AddressMatcher {
	m := &matcherv3.AddressMatcher{}
	for _, r := range []struct {
		prefix string
		bits   uint32
	}{
		{"0.0.0.0", 8},
		{"127.0.0.0", 8},
		{"169.254.0.0", 16},
		{"::", 128},
		{"::1", 128},
		{"fe80::", 10},
		{"::ffff:0.0.0.0", 96},
	} {
		m.Ranges = append(m.Ranges, &xdsv3.CidrRange{AddressPrefix: r.prefix, PrefixLen: wrapperspb.UInt32(r.bits)})
	}
	return m
}
