package envoy

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Options describe a stand-alone Envoy with Portcullis in front of one service.
// The zero value is a working configuration on the loopback interface.
type Options struct {
	// Profile is [Duplex] when empty.
	Profile Profile
	// Listen is the IP address and port that clients use; 127.0.0.1:10000 when
	// empty. Port 0 lets the system choose.
	Listen string
	// Upstream is the host:port of the protected service; 127.0.0.1:8080 when empty.
	Upstream string
	// UpstreamHTTP2 speaks HTTP/2 without TLS to the service, as gRPC needs it.
	UpstreamHTTP2 bool
	// Processor is where Portcullis listens for Envoy, host:port or unix:/path;
	// 127.0.0.1:9100 when empty.
	Processor string
	// Admin is the IP address and port of Envoy's admin interface. Empty means
	// that there is none.
	Admin string
	// MaxBodyBytes is the largest body of the buffered profile, in bytes of the
	// wire body; 32 MiB when 0. The other profiles leave the limit to
	// Portcullis' max_body_bytes.
	MaxBodyBytes int64
	// ScanTimeout and UploadTimeout are the longest ones of Portcullis' policies;
	// 30 s and 5 min when 0. Envoy's own timers are derived from them, so that
	// Portcullis always answers first.
	ScanTimeout, UploadTimeout time.Duration
	// Policy is the name of the Portcullis policy for all traffic of this Envoy.
	// Empty leaves the choice to Portcullis' rules.
	Policy string
	// MaxHeapBytes is the memory Envoy may use, in bytes: near it Envoy gives
	// memory back and then refuses requests. 0 sets no bound.
	MaxHeapBytes int64
	// AccessLog is a file for one JSON line an exchange, the verdict included;
	// /dev/stdout works. Empty writes none.
	AccessLog string
	// StatPrefix is the prefix of the listener's statistics; "ingress" when empty.
	StatPrefix string
	// KeepPaths forwards paths as the client wrote them. Set it only when no rule
	// of Portcullis looks at the path.
	KeepPaths bool
	// AllowUnderscores lets headers with an underscore in their name pass, which
	// are dropped otherwise. Set it only when the service cannot take Content_Type
	// for Content-Type.
	AllowUnderscores bool
}

// withDefaults fills in what was left out.
func (o Options) withDefaults() Options {
	o.Listen = orDefault(o.Listen, "127.0.0.1:10000")
	o.Upstream = orDefault(o.Upstream, "127.0.0.1:8080")
	o.Processor = orDefault(o.Processor, "127.0.0.1:9100")
	o.StatPrefix = orDefault(o.StatPrefix, "ingress")
	return o
}

func (o Options) gate() gate {
	return gate{
		profile: o.Profile, maxBody: o.MaxBodyBytes,
		scan: o.ScanTimeout, upload: o.UploadTimeout, policy: o.Policy,
	}.withDefaults()
}

// check returns every fault of o at once; o has its defaults.
func (o Options) check() error {
	errs := []error{
		o.gate().check(),
		checkBind("listen", o.Listen),
		checkDial("upstream", o.Upstream, false),
		checkDial("processor", o.Processor, true),
	}
	if o.Admin != "" {
		errs = append(errs, checkBind("admin", o.Admin))
	}
	if o.Admin == o.Listen && !strings.HasSuffix(o.Admin, ":0") {
		errs = append(errs, fmt.Errorf("admin: %q is the address of listen too; choose another port", o.Admin))
	}
	errs = append(errs, checkLoop("upstream", o.Upstream, o.Listen), checkLoop("processor", o.Processor, o.Listen))
	if o.MaxHeapBytes != 0 && o.MaxHeapBytes < minHeap {
		errs = append(errs, fmt.Errorf("max heap: %d bytes is less than Envoy needs to start; give %d or more, or 0 for no bound",
			o.MaxHeapBytes, minHeap))
	}
	if !word.MatchString(o.StatPrefix) {
		errs = append(errs, fmt.Errorf("stat prefix: %q cannot be used; take letters, digits, '-', '_' and '.'", o.StatPrefix))
	}
	if strings.ContainsFunc(o.AccessLog, unicode.IsControl) {
		errs = append(errs, fmt.Errorf("access log: %q holds a control character; give a file such as /dev/stdout", o.AccessLog))
	}
	return errors.Join(errs...)
}

const (
	minHeap = 64 << 20
	// maxBuffered keeps the one message of a buffered body, of which Envoy holds
	// about three copies, within what an Envoy and a gRPC server bear.
	maxBuffered = 256 << 20
	minTimeout  = 100 * time.Millisecond
	// maxScan and its slack fit into the hour that is Envoy's longest message timeout.
	maxScan   = maxMessage - slack
	maxUpload = 24 * time.Hour
)

// word is what may stand in names that Envoy would expand: no '%', no blank.
var word = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

// gate is what the filter itself needs, in whichever Envoy it stands.
type gate struct {
	profile      Profile
	maxBody      int64
	scan, upload time.Duration
	policy       string
}

func (g gate) withDefaults() gate {
	g.profile = orDefault(g.profile, Duplex)
	g.maxBody = orDefault(g.maxBody, 32<<20)
	g.scan = orDefault(g.scan, 30*time.Second)
	g.upload = orDefault(g.upload, 5*time.Minute)
	return g
}

func (g gate) check() error {
	var errs []error
	if !slices.Contains(Profiles(), g.profile) {
		errs = append(errs, fmt.Errorf("profile: %q is unknown; choose one of %v", g.profile, Profiles()))
	}
	if g.maxBody < 1 || g.maxBody > maxBuffered {
		errs = append(errs, fmt.Errorf(
			"max body: %d bytes cannot be buffered; give 1 to %d, or take the duplex profile, which has no such limit",
			g.maxBody, maxBuffered))
	}
	errs = append(errs, checkTimeout("scan timeout", g.scan, maxScan), checkTimeout("upload timeout", g.upload, maxUpload))
	if g.policy != "" && !word.MatchString(g.policy) {
		errs = append(errs, fmt.Errorf("policy: %q cannot be used in a header; take letters, digits, '-', '_' and '.'", g.policy))
	}
	return errors.Join(errs...)
}

func checkTimeout(option string, d, longest time.Duration) error {
	if d < minTimeout || d > longest {
		return fmt.Errorf("%s: %v is out of range; give %v to %v, the longest of Portcullis' policies", option, d, minTimeout, longest)
	}
	return nil
}

func orDefault[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}
