package policy

import (
	"errors"
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/ext"
	"cel.dev/cel-go/interpreter"

	"github.com/portcullis-av/portcullis/scan"
)

// maxCost bounds the work of one rule on one exchange, in CEL's cost units, so
// that a client's many headers cannot make a rule slow.
const maxCost = 100_000

// compiled is one rule, ready to be asked.
type compiled struct {
	program cel.Program
	policy  *scan.Policy
}

// newEnv declares what a rule may ask. The names are Envoy's attribute names.
func newEnv() (*cel.Env, error) {
	env, err := cel.NewEnv(
		cel.Variable("request.method", cel.StringType),
		cel.Variable("request.scheme", cel.StringType),
		cel.Variable("request.host", cel.StringType),
		cel.Variable("request.path", cel.StringType),
		cel.Variable("request.url_path", cel.StringType),
		cel.Variable("request.query", cel.StringType),
		cel.Variable("request.headers", cel.MapType(cel.StringType, cel.StringType)),
		ext.Strings(),
	)
	if err != nil {
		return nil, fmt.Errorf("set up CEL: %w", err)
	}
	return env, nil
}

func compile(env *cel.Env, when string) (compiled, error) {
	if strings.TrimSpace(when) == "" {
		return compiled{}, errors.New(`the condition is empty: write a CEL expression, or "true" to match every exchange`)
	}
	ast, issues := env.Compile(when)
	if err := issues.Err(); err != nil {
		return compiled{}, fmt.Errorf("the condition does not compile: %w (known: request.method, request.scheme, "+
			"request.host, request.path, request.url_path, request.query, request.headers)", err)
	}
	if ast.OutputType() != cel.BoolType {
		return compiled{}, fmt.Errorf("the condition yields %s: it must yield true or false", ast.OutputType())
	}
	options := []cel.ProgramOption{cel.EvalOptions(cel.OptOptimize)}
	if loops(ast) {
		options = append(options, cel.CostLimit(maxCost))
	}
	program, err := env.Program(ast, options...)
	if err != nil {
		return compiled{}, fmt.Errorf("the condition cannot be planned: %w", err)
	}
	return compiled{program: program}, nil
}

// loops reports whether a condition goes over lists or maps. One that does not
// takes time in proportion to what it reads, which Envoy's limit for headers
// bounds; counting its cost took longer than the rest of it (profile).
func loops(a *cel.Ast) bool {
	over := celast.KindMatcher(celast.ComprehensionKind)
	return len(celast.MatchDescendants(celast.NavigateAST(a.NativeRep()), over)) > 0
}

func (c compiled) matches(a scan.Attributes) (bool, error) {
	out, _, err := c.program.Eval(activation{a})
	if err != nil {
		// CEL has no type for this error; its text is part of its specification.
		if strings.HasPrefix(err.Error(), "no such key") {
			return false, nil
		}
		return false, err
	}
	matched, ok := out.Value().(bool)
	return ok && matched, nil
}

// activation answers CEL's questions from the attributes, without building a map.
type activation struct{ a scan.Attributes }

var _ interpreter.Activation = activation{}

func (v activation) ResolveName(name string) (any, bool) {
	switch name {
	case "request.method":
		return v.a.Method, true
	case "request.scheme":
		return v.a.Scheme, true
	case "request.host":
		return v.a.Host, true
	case "request.path":
		return v.a.Path, true
	case "request.url_path":
		path, _, _ := strings.Cut(v.a.Path, "?")
		return path, true
	case "request.query":
		_, query, _ := strings.Cut(v.a.Path, "?")
		return query, true
	case "request.headers":
		return v.a.Headers(), true
	}
	return nil, false
}

func (v activation) Parent() interpreter.Activation { return nil }
