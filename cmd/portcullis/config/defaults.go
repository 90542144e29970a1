package config

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	configv1 "github.com/portcullis-av/portcullis/cmd/portcullis/config/v1"
)

// DefaultPolicy is the name of the policy of exchanges that no rule matches.
const DefaultPolicy = "default"

// Each probe of Cloudmersive is billed; the others cost nothing.
const (
	canaryInterval       = 30 * time.Second
	billedCanaryInterval = 10 * time.Minute
)

// fill sets every absent field that has a default in the proto. It errs only
// when a default there cannot be read.
func fill(m protoreflect.Message) error {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		if err := fillField(m, fields.Get(i)); err != nil {
			return err
		}
	}
	return nil
}

func fillField(m protoreflect.Message, field protoreflect.FieldDescriptor) error {
	section := field.Message() != nil && field.Message().FullName() != durationName
	if field.IsList() {
		for i := range m.Get(field).List().Len() {
			if !section {
				return nil
			}
			if err := fill(m.Get(field).List().Get(i).Message()); err != nil {
				return err
			}
		}
		return nil
	}
	text, hasDefault := defaultOf(field)
	switch {
	case section && (m.Has(field) || hasDefault):
		return fill(m.Mutable(field).Message())
	case m.Has(field) || !hasDefault:
		return nil
	}
	value, err := defaultValue(field, text)
	if err != nil {
		return fmt.Errorf("%s: %w", field.FullName(), err)
	}
	m.Set(field, value)
	return nil
}

// defaultOf returns what the proto says an absent field means.
func defaultOf(field protoreflect.FieldDescriptor) (string, bool) {
	if !proto.HasExtension(field.Options(), configv1.E_DefaultValue) {
		return "", false
	}
	text, ok := proto.GetExtension(field.Options(), configv1.E_DefaultValue).(string)
	return text, ok
}

func defaultValue(field protoreflect.FieldDescriptor, text string) (protoreflect.Value, error) {
	switch field.Kind() {
	case protoreflect.BoolKind:
		v, err := strconv.ParseBool(text)
		return protoreflect.ValueOfBool(v), err
	case protoreflect.Int32Kind:
		v, err := strconv.ParseInt(text, 10, 32)
		return protoreflect.ValueOfInt32(int32(v)), err
	case protoreflect.Int64Kind:
		v, err := strconv.ParseInt(text, 10, 64)
		return protoreflect.ValueOfInt64(v), err
	case protoreflect.DoubleKind:
		v, err := strconv.ParseFloat(text, 64)
		return protoreflect.ValueOfFloat64(v), err
	case protoreflect.MessageKind:
		v, err := time.ParseDuration(text)
		return protoreflect.ValueOfMessage(durationpb.New(v).ProtoReflect()), err
	default:
		return protoreflect.ValueOfString(text), nil
	}
}

// complete sets the defaults that depend on something else.
func complete(c *configv1.Config) {
	if len(c.GetEngines()) == 0 {
		builtin := &configv1.Engine{Name: "builtin", Kind: &configv1.Engine_Builtin{Builtin: &configv1.Builtin{}}}
		c.Engines = []*configv1.Engine{builtin}
		mustFill(builtin)
	}
	for _, e := range c.GetEngines() {
		if d := e.GetCanary().GetInterval(); d.GetSeconds() != 0 || d.GetNanos() != 0 {
			continue
		}
		interval := canaryInterval
		if e.GetCloudmersive() != nil {
			interval = billedCanaryInterval
		}
		e.Canary.Interval = durationpb.New(interval)
	}
	if len(c.GetPolicies()) == 0 {
		policy := &configv1.Policy{Name: DefaultPolicy, Engines: engineNames(c)}
		c.Policies = []*configv1.Policy{policy}
		mustFill(policy)
	}
	if c.GetSpool().DiskDir == nil {
		c.Spool.DiskDir = proto.String(os.TempDir())
	}
}

// mustFill fills a message whose defaults the file's own messages have proven.
func mustFill(m proto.Message) {
	if err := fill(m.ProtoReflect()); err != nil {
		panic(err)
	}
}

// engineNames returns the names that are there, each once.
func engineNames(c *configv1.Config) []string {
	var names []string
	for _, e := range c.GetEngines() {
		if name := e.GetName(); name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}
