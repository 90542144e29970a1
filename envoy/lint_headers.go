package envoy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// attributes looks for credentials among what is sent about an exchange.
func (l *lint) attributes(g gateAt) {
	for _, list := range []struct {
		field  string
		values []string
	}{{"request_attributes", g.m.GetRequestAttributes()}, {"response_attributes", g.m.GetResponseAttributes()}} {
		for i, a := range list.values {
			if credential(a) {
				l.add(LevelWarn, "L17", fmt.Sprintf("%s.%s[%d]", g.path, list.field, i), "Credentials are sent where no scan needs them.", "Remove it.")
			}
		}
	}
}

func credential(attribute string) bool {
	a := strings.ToLower(attribute)
	return a == "request.headers" || strings.Contains(a, "authorization") || strings.Contains(a, "cookie")
}

// forwarded looks for credentials among the headers that are sent.
func (l *lint) forwarded(g gateAt) {
	rules, path := g.m.GetForwardRules(), g.path+".forward_rules"
	var sent []string
	for _, header := range credentials() {
		i := matching(rules.GetAllowedHeaders(), header)
		switch {
		case matching(rules.GetDisallowedHeaders(), header) >= 0:
		case rules.GetAllowedHeaders() == nil:
			sent = append(sent, header)
		case i >= 0:
			l.add(LevelWarn, "L17", fmt.Sprintf("%s.allowed_headers.patterns[%d]", path, i), "Credentials are sent where no scan needs them.", "Remove it.")
		}
	}
	if len(sent) > 0 {
		l.add(LevelInfo, "L17", path, fmt.Sprintf("Credentials are sent too (%s); no scan needs them.", strings.Join(sent, ", ")),
			"List authorization, proxy-authorization, cookie and set-cookie in disallowed_headers.")
	}
}

// matching is the first pattern that a header matches, or -1.
func matching(list *matcherv3.ListStringMatcher, header string) int {
	return slices.IndexFunc(list.GetPatterns(), func(p *matcherv3.StringMatcher) bool {
		fold := func(s string) string {
			if p.GetIgnoreCase() {
				return strings.ToLower(s)
			}
			return s
		}
		switch m := p.GetMatchPattern().(type) {
		case *matcherv3.StringMatcher_Exact:
			return header == fold(m.Exact)
		case *matcherv3.StringMatcher_Prefix:
			return strings.HasPrefix(header, fold(m.Prefix))
		case *matcherv3.StringMatcher_Suffix:
			return strings.HasSuffix(header, fold(m.Suffix))
		case *matcherv3.StringMatcher_Contains:
			return strings.Contains(header, fold(m.Contains))
		case *matcherv3.StringMatcher_SafeRegex:
			whole, err := regexp.Compile("^(?:" + m.SafeRegex.GetRegex() + ")$")
			return err == nil && whole.MatchString(header)
		}
		return false
	})
}
