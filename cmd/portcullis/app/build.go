package app

import (
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
	policies []scan.Policy
	setup    gate.Setup
	fleets   []*fleet.Fleet
	kinds    map[string]string // engine name to kind
	cache    *cache.Cache
	cached   []*cache.Engine
	spool    *spool.Pool
	// closers are what engines keep open.
	closers []io.Closer
}

// close ends what engines keep open; nothing is scanned afterwards.
func (p *parts) close() {
	p.setup.Crew.Close()
	for _, c := range p.closers {
		_ = c.Close()
	}
}

// build makes the parts of a configuration. Errors point into its file.
func build(c *config.Config, observer gate.Observer) (*parts, error) {
	m := c.Message()
	p := &parts{kinds: map[string]string{}}
	engines := map[string]scan.Engine{}
	var problems []config.Problem
	made, err := buildCache(m.GetCache())
	if err != nil {
		problems = append(problems, config.Problem{Path: "cache.redis", Message: oneLine(err)})
	}
	p.cache = made
	for i, e := range m.GetEngines() {
		f, kind, err := p.buildEngine(e)
		if err != nil {
			problems = append(problems, config.Problem{Path: fmt.Sprintf("engines[%d]", i), Message: oneLine(err)})
			continue
		}
		p.fleets = append(p.fleets, f)
		engines[e.GetName()], p.kinds[e.GetName()] = p.remember(e, kind, f), kind
	}
	p.policies = policiesOf(m)
	set, errs := policy.New(p.policies, rulesOf(m))
	problems = append(problems, ruleProblems(errs)...)
	pool, err := spool.New(spool.Config{
		MemoryBytes:     m.GetSpool().GetMemoryBytes(),
		BodyMemoryBytes: m.GetSpool().GetBodyMemoryBytes(),
		DiskDir:         m.GetSpool().GetDiskDir(),
		DiskBytes:       m.GetSpool().GetDiskBytes(),
	})
	if err != nil {
		problems = append(problems, config.Problem{Path: "spool", Message: oneLine(err)})
	}
	if err := c.Reject(problems...); err != nil {
		p.close()
		return nil, err
	}
	p.spool = pool
	p.setup = gate.Setup{
		Policies: set, Engines: engines, Store: pool, Observer: observer, Crew: gate.NewCrew(),
		Unwrap:       content.New(content.Config{Store: pool}),
		MaxExchanges: int64(m.GetLimits().GetMaxExchanges()), Full: pool.Full, Partial: partial,
	}
	return p, nil
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

func (p *parts) buildEngine(e *configv1.Engine) (*fleet.Fleet, string, error) {
	opts := fleet.Options{
		CanaryInterval: e.GetCanary().GetInterval().AsDuration(),
		CanaryTimeout:  e.GetCanary().GetTimeout().AsDuration(),
	}
	var (
		instances []fleet.Instance
		kind      string
		err       error
	)
	switch k := e.GetKind().(type) {
	case *configv1.Engine_Builtin:
		kind, opts.MaxInFlight = "builtin", maxBuiltin
		instances, err = buildBuiltin(k.Builtin)
	case *configv1.Engine_Clamd:
		kind, opts.MaxInFlight = "clamd", int(k.Clamd.GetMaxInFlight())
		instances, err = buildClamd(k.Clamd)
	case *configv1.Engine_Cloudmersive:
		kind, opts.MaxInFlight = "cloudmersive", int(k.Cloudmersive.GetMaxInFlight())
		instances, err = buildCloudmersive(k.Cloudmersive)
	case *configv1.Engine_Icap:
		kind, opts.MaxInFlight = "icap", int(k.Icap.GetMaxInFlight())
		instances, err = buildIcap(k.Icap)
	case *configv1.Engine_Remote:
		kind, opts.MaxInFlight = "remote", int(k.Remote.GetMaxInFlight())
		instances, err = p.buildRemote(k.Remote)
	default:
		err = errors.New("names no kind of engine")
	}
	if err != nil {
		return nil, "", err
	}
	f, err := fleet.New(e.GetName(), instances, opts)
	return f, kind, err
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

func buildCloudmersive(c *configv1.Cloudmersive) ([]fleet.Instance, error) {
	cfg := cloudmersive.Config{
		URL: c.GetUrl(), APIKeyFile: c.GetApiKeyFile(), CAFile: c.GetCaFile(),
		Timeout: c.GetTimeout().AsDuration(), Retry: true, Advanced: advancedOf(c.GetAdvanced()),
	}
	if !c.GetAdvanced().GetSendFileName() {
		none := ""
		cfg.FileName = &none
	}
	e, err := cloudmersive.New(cfg)
	return []fleet.Instance{{Label: c.GetUrl(), Engine: e}}, err
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

func (p *parts) buildRemote(c *configv1.Remote) ([]fleet.Instance, error) {
	cfg := remote.Config{Address: c.GetAddress(), Policy: c.GetPolicy(), ConnectTimeout: c.GetConnectTimeout().AsDuration()}
	if t := c.GetTls(); t != nil {
		cfg.TLS = &remote.TLS{CAFile: t.GetCaFile(), CertFile: t.GetCertFile(), KeyFile: t.GetKeyFile(), ServerName: t.GetServerName()}
	}
	e, err := remote.New(cfg)
	if err != nil {
		return nil, err
	}
	p.closers = append(p.closers, e)
	return []fleet.Instance{{Label: c.GetAddress(), Engine: e}}, nil
}

func policiesOf(m *configv1.Config) []scan.Policy {
	var all []scan.Policy
	for _, p := range m.GetPolicies() {
		q := scan.Policy{
			Name: p.GetName(), Engines: p.GetEngines(),
			ScanRequest: p.GetRequest() == "scan", ScanResponse: p.GetResponse() == "scan",
			MaxBodyBytes: p.GetMaxBodyBytes(),
			ScanTimeout:  p.GetScanTimeout().AsDuration(), UploadTimeout: p.GetUploadTimeout().AsDuration(),
			UploadIdleTimeout: p.GetUploadIdleTimeout().AsDuration(), UploadMinRate: p.GetUploadMinRate(),
			FailOpen: p.GetFail() == "open", PassUnscannable: p.GetUnscannable() == "pass",
			PassPartial: p.GetPartialContent() == "pass",
			Enforce:     p.GetEnforce(), ShowThreats: p.GetShowThreats(),
			Content: scan.ContentLimits{
				MaxObjects: int(p.GetContent().GetMaxObjects()), MaxDepth: int(p.GetContent().GetMaxDepth()),
				MaxCodings: int(p.GetContent().GetMaxCodings()), MaxExpandedBytes: p.GetContent().GetMaxExpandedBytes(),
				MaxRatio: p.GetContent().GetMaxRatio(),
			},
		}
		if p.GetMode() == "first" {
			q.Mode = scan.ModeFirst
		}
		all = append(all, q)
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
