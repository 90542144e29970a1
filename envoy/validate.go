package envoy

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protopath"
	"google.golang.org/protobuf/reflect/protorange"
)

// validate runs Envoy's own rules on a message and on everything packed inside
// it, which [proto.Message]'s generated validation leaves out.
func validate(m proto.Message) error {
	var errs []error
	err := protorange.Range(m.ProtoReflect(), func(p protopath.Values) error {
		step := p.Index(-1)
		if step.Step.Kind() != protopath.RootStep && step.Step.Kind() != protopath.AnyExpandStep {
			return nil
		}
		v, ok := step.Value.Message().Interface().(interface{ ValidateAll() error })
		if !ok {
			return nil
		}
		if err := v.ValidateAll(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", p.Path, err))
		}
		return nil
	})
	return errors.Join(append(errs, err)...)
}
