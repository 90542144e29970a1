package policy

import (
	"fmt"

	"github.com/portcullis-av/portcullis/scan"
)

// Default is the name of the policy that holds where no rule matches.
const Default = "default"

// Rule names the policy for the exchanges its condition matches.
type Rule struct {
	When   string // a CEL expression of type bool
	Policy string
}

// Set holds the policies and rules of one configuration. It is immutable and
// safe for concurrent use.
type Set struct {
	policies map[string]*scan.Policy
	rules    []compiled
}

// RuleError says which rule is wrong; the composition root turns the index into
// a line of the configuration file.
type RuleError struct {
	Index int
	Err   error
}

func (e *RuleError) Error() string { return fmt.Sprintf("rules[%d]: %v", e.Index, e.Err) }

func (e *RuleError) Unwrap() error { return e.Err }

// Cause is what an exchange is refused with when its rule fails.
func (e *RuleError) Cause() scan.Cause { return scan.CauseRuleFailed }

// New compiles the rules. Every rule that is wrong is in the returned errors,
// each a [*RuleError]; the Set is nil then.
func New(policies []scan.Policy, rules []Rule) (*Set, []error) {
	s := &Set{policies: make(map[string]*scan.Policy, len(policies))}
	for i := range policies {
		p := policies[i]
		s.policies[p.Name] = &p
	}
	var errs []error
	if s.policies[Default] == nil {
		errs = append(errs, fmt.Errorf("there is no policy named %q: add one, it holds where no rule matches", Default))
	}
	env, err := newEnv()
	if err != nil {
		return nil, append(errs, err)
	}
	for i, r := range rules {
		c, err := compile(env, r.When)
		if err != nil {
			errs = append(errs, &RuleError{Index: i, Err: err})
			continue
		}
		if c.policy = s.policies[r.Policy]; c.policy == nil {
			errs = append(errs, &RuleError{Index: i, Err: fmt.Errorf("there is no policy named %q", r.Policy)})
			continue
		}
		s.rules = append(s.rules, c)
	}
	if len(errs) > 0 {
		return nil, errs
	}
	return s, nil
}

// ErrUnknown means that a route names a policy that does not exist. The caller
// must refuse the exchange: a route that asks for a policy must not get another.
var ErrUnknown error = unknownPolicy{}

type unknownPolicy struct{}

func (unknownPolicy) Error() string { return "there is no policy of that name" }

// Cause is what an exchange is refused with.
func (unknownPolicy) Cause() scan.Cause { return scan.CauseUnknownPolicy }

// Choose returns the policy of an exchange: the one named, else that of the
// first rule that matches, else the default.
//
// A rule that asks for a header which is not there does not match. A rule that
// cannot be evaluated for another reason (too costly, a conversion that fails)
// is an error, and the caller must refuse the exchange: a client could provoke
// it to escape a strict rule.
func (s *Set) Choose(a scan.Attributes, name string) (*scan.Policy, error) {
	if name != "" {
		p := s.policies[name]
		if p == nil {
			return nil, ErrUnknown
		}
		return p, nil
	}
	for i, r := range s.rules {
		matched, err := r.matches(a)
		if err != nil {
			return nil, &RuleError{Index: i, Err: err}
		}
		if matched {
			return r.policy, nil
		}
	}
	return s.policies[Default], nil
}

// Get returns the policy of that name, or nil.
func (s *Set) Get(name string) *scan.Policy { return s.policies[name] }
