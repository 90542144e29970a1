package app

import (
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help is shown by --help.
func (completionCommand) Help() string {
	return `Examples:
  source <(portcullis completion bash)
  portcullis completion fish > ~/.config/fish/completions/portcullis.fish`
}

// Run prints a script made from the same grammar that parses the command line.
func (c completionCommand) Run(p Process, model *kong.Application) error {
	words := completions(model.Node, "")
	var b strings.Builder
	switch c.Shell {
	case "fish":
		for _, w := range words {
			fmt.Fprintf(&b, "complete -c portcullis -n '__fish_seen_subcommand_from %s' -a '%s'\n", w.after, w.choices)
		}
		fmt.Fprintf(&b, "complete -c portcullis -n __fish_use_subcommand -f -a '%s'\n", words[0].choices)
	default:
		if c.Shell == "zsh" {
			b.WriteString("autoload -U +X bashcompinit && bashcompinit\n")
		}
		b.WriteString("_portcullis() {\n  local words_after=\"${COMP_WORDS[1]}\" choices\n  [ \"${COMP_CWORD}\" -eq 1 ] && words_after=\n  case \"$words_after\" in\n")
		for _, w := range words[1:] {
			fmt.Fprintf(&b, "    %s) choices='%s' ;;\n", w.after, w.choices)
		}
		fmt.Fprintf(&b, "    *) choices='%s' ;;\n  esac\n", words[0].choices)
		b.WriteString("  COMPREPLY=($(compgen -W \"$choices\" -- \"${COMP_WORDS[COMP_CWORD]}\"))\n}\ncomplete -o default -F _portcullis portcullis\n")
	}
	_, err := fmt.Fprint(p.Stdout, b.String())
	return err
}

// completion is what may follow a command; after is "" for the program itself.
type completion struct{ after, choices string }

func completions(n *kong.Node, after string) []completion {
	var choices []string
	for _, child := range n.Children {
		choices = append(choices, child.Name)
	}
	for _, f := range n.Flags {
		choices = append(choices, "--"+f.Name)
	}
	all := []completion{{after, strings.Join(choices, " ")}}
	for _, child := range n.Children {
		if after == "" {
			all = append(all, withGrandchildren(child))
		}
	}
	return all
}

// withGrandchildren lists a command's own words and those of its subcommands.
func withGrandchildren(n *kong.Node) completion {
	c := completions(n, n.Name)[0]
	for _, child := range n.Children {
		for _, f := range child.Flags {
			if word := "--" + f.Name; !strings.Contains(c.choices+" ", word+" ") {
				c.choices += " " + word
			}
		}
	}
	return c
}
