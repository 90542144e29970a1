package policy_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/policy"
)

func attributes(method, path string, headers map[string]string) scan.Attributes {
	return scan.Attributes{
		Method: method, Scheme: "http", Host: "shop.example", Path: path,
		Headers: func() map[string]string { return headers },
	}
}

func named(names ...string) []scan.Policy {
	var ps []scan.Policy
	for _, n := range names {
		ps = append(ps, scan.Policy{Name: n})
	}
	return ps
}

// The first rule that matches wins; none, and the default holds.
func TestChoose(t *testing.T) {
	set, errs := policy.New(named("default", "skip", "uploads"), []policy.Rule{
		{When: `request.path.startsWith("/healthz")`, Policy: "skip"},
		{When: `request.method == "PUT" && request.host.endsWith(".example")`, Policy: "uploads"},
		{When: `request.headers["x-kind"].lowerAscii() == "video"`, Policy: "skip"},
		{When: `request.url_path == "/q" && request.query == "a=1"`, Policy: "uploads"},
	})
	if errs != nil {
		t.Fatal(errs)
	}
	for _, c := range []struct {
		a    scan.Attributes
		want string
	}{
		{attributes("GET", "/healthz/live", nil), "skip"},
		{attributes("PUT", "/file", nil), "uploads"},
		{attributes("GET", "/file", nil), "default"}, // the header is missing: that rule cannot match
		{attributes("GET", "/file", map[string]string{"x-kind": "VIDEO"}), "skip"},
		{attributes("GET", "/q?a=1", nil), "uploads"},
	} {
		got, err := set.Choose(c.a, "")
		if err != nil || got.Name != c.want {
			t.Errorf("%s %s: policy %v, want %s", c.a.Method, c.a.Path, got, c.want)
		}
	}
}

// A route that names a policy gets that one or none.
func TestChooseByName(t *testing.T) {
	set, errs := policy.New(named("default", "strict"), []policy.Rule{{When: "true", Policy: "default"}})
	if errs != nil {
		t.Fatal(errs)
	}
	if p, err := set.Choose(attributes("GET", "/", nil), "strict"); err != nil || p.Name != "strict" {
		t.Errorf("got %v %v", p, err)
	}
	if p, err := set.Choose(attributes("GET", "/", nil), "strickt"); !errors.Is(err, policy.ErrUnknown) {
		t.Errorf("an unknown name gave %v, %v", p, err)
	}
}

// Every wrong rule is reported, with its index and what may be asked.
func TestWrongRules(t *testing.T) {
	_, errs := policy.New(named("default"), []policy.Rule{
		{When: `request.pth == "/"`, Policy: "default"},
		{When: `request.path`, Policy: "default"},
		{When: ``, Policy: "default"},
		{When: `true`, Policy: "nobody"},
		{When: `true`, Policy: "default"},
		{When: `request.path ==`, Policy: "default"},
	})
	var at []int
	for _, err := range errs {
		var re *policy.RuleError
		if !errors.As(err, &re) {
			t.Fatalf("%v is no RuleError", err)
		}
		at = append(at, re.Index)
	}
	if len(at) != 5 || at[0] != 0 || at[4] != 5 {
		t.Fatalf("rules reported: %v", at)
	}
	if !strings.Contains(errs[0].Error(), "request.url_path") {
		t.Errorf("the message does not say what may be asked: %v", errs[0])
	}
	if _, errs := policy.New(named("other"), nil); len(errs) != 1 {
		t.Errorf("a set without a default policy: %v", errs)
	}
}

// A rule that a client makes fail refuses the exchange, and does not hang: it
// must not fall through to a laxer policy.
func TestRuleThatFails(t *testing.T) {
	set, errs := policy.New(named("default", "skip"), []policy.Rule{
		{When: `request.headers.all(k, request.headers.all(l, k + l != request.path))`, Policy: "skip"},
	})
	if errs != nil {
		t.Fatal(errs)
	}
	headers := map[string]string{}
	for i := range 2000 {
		headers[strings.Repeat("a", i%50)+string(rune('a'+i%26))] = "v"
	}
	var re *policy.RuleError
	if p, err := set.Choose(attributes("GET", "/", headers), ""); !errors.As(err, &re) {
		t.Errorf("got %v, %v", p, err)
	}
}

func BenchmarkChoose(b *testing.B) {
	set, errs := policy.New(named("default", "skip"), []policy.Rule{
		{When: `request.path.startsWith("/healthz")`, Policy: "skip"},
	})
	if errs != nil {
		b.Fatal(errs)
	}
	a := attributes("POST", "/upload", nil)
	b.ReportAllocs()
	for b.Loop() {
		set.Choose(a, "")
	}
}
