package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/portcullis-av/portcullis/cmd/portcullis/config"
	configv1 "github.com/portcullis-av/portcullis/cmd/portcullis/config/v1"
	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/builtin"
	"github.com/portcullis-av/portcullis/scan/cache"
	"github.com/portcullis-av/portcullis/scan/clamd"
	"github.com/portcullis-av/portcullis/scan/cloudmersive"
	"github.com/portcullis-av/portcullis/scan/content"
	"github.com/portcullis-av/portcullis/scan/fleet"
	"github.com/portcullis-av/portcullis/scan/gate"
	"github.com/portcullis-av/portcullis/scan/icap"
	"github.com/portcullis-av/portcullis/scan/policy"
	"github.com/portcullis-av/portcullis/scan/remote"
	"github.com/portcullis-av/portcullis/scan/spool"
)

// parts is everything that one configuration makes.
type parts struct {
	cfg      *config.Config
	hash     string            // of the configuration
	files    map[string]string // digests of those that it names
	policies []scan.Policy
	setup    gate.Setup
	fleets   []*fleet.Fleet
	kinds    map[string]string // engine name to kind
	cache    *cache.Cache
	cached   []*cache.Engine
	spool    *spool.Pool

	crew    *crew
	tier    *cacheTier
	engines map[string]*engine       // by name
	wrapped map[string]*cache.Engine // by name, where there is a cache before it
}

// engine is one configured engine.
type engine struct {
	lasting
	fleet *fleet.Fleet
	kind  string
}

// cacheTier is the cache before all engines.
type cacheTier struct {
	lasting
	cache *cache.Cache
}

// crew runs what goes on beside exchanges.
type crew struct {
	lasting
	crew *gate.Crew
}

// Close implements io.Closer.
func (c *crew) Close() error {
	c.crew.Close()
	return nil
}

// close lets go of what the configuration holds. What no other one holds is
// ended: nothing may be scanned with it any more.
func (p *parts) close() {
	for _, e := range p.engines {
		e.leave()
	}
	p.tier.leave()
	p.crew.leave()
}

// start begins what engines and cache do in the background, until ctx ends.
func (p *parts) start(ctx context.Context) {
	p.tier.start(ctx)
	for _, e := range p.engines {
		e.start(ctx)
	}
}

// builder makes the parts of a configuration. Its zero value makes all of them;
// else what the configuration before has made and this one does not change is
// used again, with all that it knows.
type builder struct {
	observer gate.Observer
	redis    cache.Changed // told about Redis; may be nil
	traces   *tracing
	before   *parts
	// files are the digests of the files that the configuration names.
	files map[string]string

	problems []config.Problem
}

// build makes the parts of a configuration without any before it, for a command
// that reports by itself. Errors point into its file.
func build(c *config.Config) (*parts, error) {
	b := &builder{observer: silent{}}
	if _, _, err := collectorCredentials(c.Message().GetTracing().GetOtlp()); err != nil {
		b.reject("tracing.otlp", err)
	}
	return b.build(c)
}

func (b *builder) build(c *config.Config) (*parts, error) {
	m := c.Message()
	p := &parts{
		cfg: c, hash: hashOf(m), files: b.files, kinds: map[string]string{},
		engines: map[string]*engine{}, wrapped: map[string]*cache.Engine{},
	}
	asked := map[string]scan.Engine{}
	p.tier, p.crew = b.tier(m.GetCache()), b.crew()
	p.cache = p.tier.cache
	for i, e := range m.GetEngines() {
		made, err := b.engine(e)
		if err != nil {
			b.reject(fmt.Sprintf("engines[%d]", i), err)
			continue
		}
		made.users++
		p.engines[e.GetName()] = made
		p.fleets = append(p.fleets, made.fleet)
		p.kinds[e.GetName()], asked[e.GetName()] = made.kind, b.traces.engine(e.GetName(), b.remember(p, made, e))
	}
	p.policies = policiesOf(m)
	set, errs := policy.New(p.policies, rulesOf(m))
	b.problems = append(b.problems, ruleProblems(errs)...)
	p.spool = b.spool(m.GetSpool())
	if err := c.Reject(b.problems...); err != nil {
		p.close()
		return nil, err
	}
	p.setup = gate.Setup{
		Policies: set, Engines: asked, Store: p.spool, Observer: b.observer, Tracer: b.traces.gateTracer(), Crew: p.crew.crew,
		Unwrap:       content.New(content.Config{Store: p.spool}),
		MaxExchanges: int64(m.GetLimits().GetMaxExchanges()), Full: p.spool.Full, Partial: partial,
	}
	return p, nil
}

func (b *builder) reject(path string, err error) {
	b.problems = append(b.problems, config.Problem{Path: path, Message: oneLine(err)})
}

func (b *builder) crew() *crew {
	if b.before != nil {
		b.before.crew.users++
		return b.before.crew
	}
	c := &crew{lasting: lasting{users: 1}, crew: gate.NewCrew()}
	c.closers = []io.Closer{c}
	return c
}

// tier is the cache: the one before, unless its settings or files have changed.
func (b *builder) tier(c *configv1.Cache) *cacheTier {
	key := b.key(c, cacheFiles(c))
	if b.before != nil && b.before.tier.key == key {
		b.before.tier.users++
		return b.before.tier
	}
	t := &cacheTier{lasting: lasting{key: key, users: 1}}
	made, err := buildCache(c)
	if err != nil {
		b.reject("cache.redis", err)
		return t
	}
	t.cache = made
	t.run = func(ctx context.Context) { made.Run(ctx, b.redis) }
	return t
}

// engine is the one before, unless its settings or files have changed.
func (b *builder) engine(e *configv1.Engine) (*engine, error) {
	key := b.key(e, engineFiles(e))
	if b.before != nil {
		if old := b.before.engines[e.GetName()]; old != nil && old.key == key {
			return old, nil
		}
	}
	made := &engine{lasting: lasting{key: key}}
	if err := made.build(e, b.traces); err != nil {
		return nil, err
	}
	made.run = made.fleet.Run
	return made, nil
}

// spool is the one before, whose bounds no reload changes.
func (b *builder) spool(s *configv1.Spool) *spool.Pool {
	if b.before != nil {
		return b.before.spool
	}
	pool, err := spool.New(spool.Config{
		MemoryBytes: s.GetMemoryBytes(), BodyMemoryBytes: s.GetBodyMemoryBytes(),
		DiskDir: s.GetDiskDir(), DiskBytes: s.GetDiskBytes(),
	})
	if err != nil {
		b.reject("spool", err)
	}
	return pool
}

// partial lets the gate recognise pieces of content from headers.
func partial(l scan.Leg, h gate.Head) (detail string, is bool) {
	if l == scan.Response {
		return content.PartialResponse(h.Status, h.Header)
	}
	return content.PartialRequest(h.Method, h.Path, h.Header)
}

// oneLine makes an error of several lines fit one problem.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// build makes the engine's fleet.
func (e *engine) build(c *configv1.Engine, traces *tracing) error {
	opts := fleet.Options{
		Asking:         traces.asking(c.GetName()),
		CanaryInterval: c.GetCanary().GetInterval().AsDuration(),
		CanaryTimeout:  c.GetCanary().GetTimeout().AsDuration(),
	}
	var (
		instances []fleet.Instance
		err       error
	)
	switch k := c.GetKind().(type) {
	case *configv1.Engine_Builtin:
		e.kind, opts.MaxInFlight = "builtin", maxBuiltin
		instances, err = buildBuiltin(k.Builtin)
	case *configv1.Engine_Clamd:
		e.kind, opts.MaxInFlight = "clamd", int(k.Clamd.GetMaxInFlight())
		instances, err = buildClamd(k.Clamd)
	case *configv1.Engine_Cloudmersive:
		e.kind, opts.MaxInFlight = "cloudmersive", int(k.Cloudmersive.GetMaxInFlight())
		opts.ScanTimeout = k.Cloudmersive.GetTimeout().AsDuration()
		instances, err = e.buildCloudmersive(k.Cloudmersive)
	case *configv1.Engine_Icap:
		e.kind, opts.MaxInFlight = "icap", int(k.Icap.GetMaxInFlight())
		instances, err = buildIcap(k.Icap)
	case *configv1.Engine_Remote:
		e.kind, opts.MaxInFlight = "remote", int(k.Remote.GetMaxInFlight())
		instances, err = e.buildRemote(k.Remote, traces)
	default:
		err = errors.New("names no kind of engine")
	}
	if err != nil {
		return err
	}
	e.fleet, err = fleet.New(c.GetName(), instances, opts)
	return err
}

// maxBuiltin lets the embedded engine run as often as bodies are there: it has
// no connections to run out of.
const maxBuiltin = 1 << 16

func buildBuiltin(b *configv1.Builtin) ([]fleet.Instance, error) {
	e, err := builtin.New(builtin.Config{HashLists: b.GetHashLists()})
	return []fleet.Instance{{Label: "embedded", Engine: e}}, err
}

func buildClamd(c *configv1.Clamd) ([]fleet.Instance, error) {
	var all []fleet.Instance
	for _, address := range c.GetAddresses() {
		e, err := clamd.New(clamd.Config{Address: address, ConnectTimeout: c.GetConnectTimeout().AsDuration()})
		if err != nil {
			return nil, err
		}
		all = append(all, fleet.Instance{Label: address, Engine: e})
	}
	return all, nil
}

func (e *engine) buildCloudmersive(c *configv1.Cloudmersive) ([]fleet.Instance, error) {
	cfg := cloudmersive.Config{
		URL: c.GetUrl(), APIKeyFile: c.GetApiKeyFile(), CAFile: c.GetCaFile(),
		Timeout: c.GetTimeout().AsDuration(), Retry: true, Advanced: advancedOf(c.GetAdvanced()),
	}
	if !c.GetAdvanced().GetSendFileName() {
		none := ""
		cfg.FileName = &none
	}
	made, err := cloudmersive.New(cfg)
	if err != nil {
		return nil, err
	}
	e.closers = append(e.closers, made)
	return []fleet.Instance{{Label: c.GetUrl(), Engine: made}}, nil
}

func advancedOf(a *configv1.Advanced) *cloudmersive.Advanced {
	if a == nil {
		return nil
	}
	has := func(option string) bool { return slices.Contains(a.GetOptions(), option) }
	return &cloudmersive.Advanced{
		AllowExecutables:             a.AllowExecutables,
		AllowScripts:                 a.AllowScripts,
		AllowMacros:                  a.AllowMacros,
		AllowInvalidFiles:            a.AllowInvalidFiles,
		AllowPasswordProtectedFiles:  a.AllowPasswordProtectedFiles,
		AllowUnsafeArchives:          a.AllowUnsafeArchives,
		AllowXMLExternalEntities:     a.AllowXmlExternalEntities,
		AllowInsecureDeserialization: a.AllowInsecureDeserialization,
		AllowHTML:                    a.AllowHtml,
		AllowOLEEmbeddedObject:       a.AllowOleEmbeddedObject,
		AllowUnwantedAction:          a.AllowUnwantedAction,

		PermitJavascriptAndHTMLInPDFs:         has("permitJavascriptAndHtmlInPDFs"),
		PermitJavascriptInHTML:                has("permitJavascriptInHtml"),
		BlockOfficeXMLOLEEmbeddedFile:         has("blockOfficeXmlOleEmbeddedFile"),
		BlockInvalidURIs:                      has("blockInvalidUris"),
		PermitAuthenticodeSignedExecutables:   has("permitAuthenticodeSignedExecutables"),
		ScanMultipartFile:                     has("scanMultipartFile"),
		IgnoreRestrictFileTypesForAttachments: has("ignoreRestrictFileTypesForAttachments"),

		RestrictFileTypes: a.GetRestrictFileTypes(),
	}
}

func buildIcap(c *configv1.Icap) ([]fleet.Instance, error) {
	cfg := icap.Config{
		URL: c.GetUrl(), CAFile: c.GetCaFile(), Method: c.GetMethod(), MaxPreview: int(c.GetMaxPreviewBytes()),
		AcceptEcho: c.GetAcceptEcho(), MaxObjectBytes: c.GetMaxObjectBytes(), SendFileName: c.GetSendFileName(),
		ConnectTimeout: c.GetConnectTimeout().AsDuration(), MaxIdle: int(c.GetMaxIdle()), IdleTimeout: c.GetIdleTimeout().AsDuration(),
	}
	if cfg.MaxIdle == 0 {
		cfg.MaxIdle = -1 // there 0 is the default
	}
	for _, h := range c.GetHeaders() {
		cfg.Headers = append(cfg.Headers, icap.Header{Name: h.GetName(), Value: h.GetValue(), File: h.GetValueFile()})
	}
	e, err := icap.New(cfg)
	return []fleet.Instance{{Label: icapLabel(c.GetUrl()), Engine: e}}, err
}

// icapLabel is the URL without its query, which may hold what is nobody's business.
func icapLabel(url string) string {
	label, _, _ := strings.Cut(url, "?")
	return label
}

func (e *engine) buildRemote(c *configv1.Remote, traces *tracing) ([]fleet.Instance, error) {
	cfg := remote.Config{
		Address: c.GetAddress(), Policy: c.GetPolicy(), ConnectTimeout: c.GetConnectTimeout().AsDuration(),
		Dial: traces.dialOptions(),
	}
	if t := c.GetTls(); t != nil {
		cfg.TLS = &remote.TLS{CAFile: t.GetCaFile(), CertFile: t.GetCertFile(), KeyFile: t.GetKeyFile(), ServerName: t.GetServerName()}
	}
	made, err := remote.New(cfg)
	if err != nil {
		return nil, err
	}
	e.closers = append(e.closers, made)
	return []fleet.Instance{{Label: c.GetAddress(), Engine: made}}, nil
}

func policiesOf(m *configv1.Config) []scan.Policy {
	var all []scan.Policy
	for _, p := range m.GetPolicies() {
		q := scan.Policy{
			Name: p.GetName(), Revision: revision(m, p), Engines: p.GetEngines(),
			ScanRequest: p.GetRequest() == "scan", ScanResponse: p.GetResponse() == "scan",
			MaxBodyBytes: p.GetMaxBodyBytes(), Digest: wantDigest(m, p.GetEngines()),
			ScanTimeout: p.GetScanTimeout().AsDuration(), UploadTimeout: p.GetUploadTimeout().AsDuration(),
			UploadIdleTimeout: p.GetUploadIdleTimeout().AsDuration(), UploadMinRate: p.GetUploadMinRate(),
			FailOpen: p.GetFail() == "open", PassUnscannable: p.GetUnscannable() == "pass",
			PassPartial: p.GetPartialContent() == "pass", PassCauses: causesOf(p.GetPassCauses()),
			Enforce: p.GetEnforce(), ShowThreats: p.GetShowThreats(),
			Content: scan.ContentLimits{
				MaxObjects: int(p.GetContent().GetMaxObjects()), MaxDepth: int(p.GetContent().GetMaxDepth()),
				MaxCodings: int(p.GetContent().GetMaxCodings()), MaxExpandedBytes: p.GetContent().GetMaxExpandedBytes(),
				MaxRatio: p.GetContent().GetMaxRatio(), LenientMultipart: p.GetContent().GetMultipart() == "lenient",
				SelfExtracting: p.GetContent().GetSelfExtracting(),
			},
		}
		if p.GetMode() == "first" {
			q.Mode = scan.ModeFirst
		}
		all = append(all, q)
	}
	return all
}

// wantDigest reports whether an engine of these asks for the digest of every
// object: all do, or the cache before them, but a builtin one without lists.
func wantDigest(m *configv1.Config, names []string) bool {
	for _, e := range m.GetEngines() {
		builtin, is := e.GetKind().(*configv1.Engine_Builtin)
		if slices.Contains(names, e.GetName()) && (!is || len(builtin.Builtin.GetHashLists()) > 0) {
			return true
		}
	}
	return false
}

func causesOf(words []string) []scan.Cause {
	var all []scan.Cause
	for _, w := range words {
		all = append(all, scan.Cause(w))
	}
	return all
}

func rulesOf(m *configv1.Config) []policy.Rule {
	var all []policy.Rule
	for _, r := range m.GetRules() {
		all = append(all, policy.Rule{When: r.GetWhen(), Policy: r.GetPolicy()})
	}
	return all
}

// checkRules is the [config.Check] that compiles the rules, so that a mistake in
// one is reported with all the others, at its line.
func checkRules(c *config.Config) []config.Problem {
	m := c.Message()
	// Policies that are missing are the loader's to report.
	known := map[string]scan.Policy{policy.Default: {Name: policy.Default}}
	for _, r := range m.GetRules() {
		known[r.GetPolicy()] = scan.Policy{Name: r.GetPolicy()}
	}
	_, errs := policy.New(slices.Collect(maps.Values(known)), rulesOf(m))
	return ruleProblems(errs)
}

func ruleProblems(errs []error) []config.Problem {
	var all []config.Problem
	for _, err := range errs {
		p := config.Problem{Message: oneLine(err)}
		var at *policy.RuleError
		if errors.As(err, &at) {
			p = config.Problem{Path: fmt.Sprintf("rules[%d].when", at.Index), Message: oneLine(at.Err)}
		}
		all = append(all, p)
	}
	return all
}
