// Package policy chooses the policy of an exchange: by the name that Envoy's
// route gives, else by the first rule that matches, else the policy "default".
// Rules are CEL expressions over the exchange's attributes, compiled and
// type-checked once, at load.
//
// It must not know how bodies are held or scanned, nor any protocol.
package policy
