// Package footprint measures what is in the built operator, module by module.
package footprint

import (
	"cmp"
	"debug/buildinfo"
	"debug/dwarf"
	"debug/elf"
	"debug/gosym"
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"
)

const (
	// standard stands for the standard library with the runtime among the modules.
	standard = "std"
	// unattributed stands for what belongs to no module: string constants, which the linker merges, and the runtime's
	// own tables.
	unattributed = "unattributed"
)

// attrRuntimeType is DW_AT_go_runtime_type: where the descriptor of a type is, counted from the first one.
const attrRuntimeType dwarf.Attr = 0x2904

// byModule returns how many bytes of the loaded part of a Go program for Linux each module has: its functions, its types
// and its variables. The sum is the size of that part in the file. The program must have been linked with its symbols and
// its debugging information, which are not counted.
//
// The table of functions (.gopclntab), which is two thirds as large as the functions, is shared out by their size.
func byModule(file string) (map[string]float64, error) {
	info, err := buildinfo.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the modules of a program: %w", err)
	}
	program, err := elf.Open(file)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	defer func() { _ = program.Close() }()
	symbols, err := program.Symbols()
	if err != nil {
		return nil, fmt.Errorf("reading the symbols of %s: %w", file, err)
	}
	own := cmp.Or(info.Main.Path, "main") // a program that is built from files has none
	m := measurement{
		program: program, symbols: symbols,
		modules: map[string]string{"main": own, own: own}, bytes: map[string]float64{},
	}
	for _, dependency := range info.Deps {
		m.modules[dependency.Path] = dependency.Path
	}
	if err := errors.Join(m.addFunctions(), m.addTypes()); err != nil {
		return nil, fmt.Errorf("measuring %s: %w", file, err)
	}
	m.addVariables()
	m.addRest()
	return m.bytes, nil
}

// measurement is the state of byModule.
type measurement struct {
	program *elf.File
	symbols []elf.Symbol
	// modules has the module of each package path that is one, and of main.
	modules map[string]string
	bytes   map[string]float64
}

func (m *measurement) addFunctions() error {
	text, table := m.program.Section(".text"), m.program.Section(".gopclntab")
	if text == nil || table == nil {
		return errors.New("it is not a Go program for Linux")
	}
	data, err := table.Data()
	if err != nil {
		return fmt.Errorf("its table of functions: %w", err)
	}
	lines, err := gosym.NewTable(nil, gosym.NewLineTable(data, text.Addr))
	if err != nil {
		return fmt.Errorf("its table of functions: %w", err)
	}
	var code float64
	for _, function := range lines.Funcs {
		code += float64(function.End - function.Entry)
	}
	share := 1 + float64(table.FileSize)/code
	for _, function := range lines.Funcs {
		m.bytes[m.module(function.Name)] += float64(function.End-function.Entry) * share
	}
	return nil
}

// descriptor is what the program knows of a type at run time. It reaches to the next one.
type descriptor struct {
	offset uint64
	name   string
}

func (m *measurement) addTypes() error {
	var start, end uint64
	for _, symbol := range m.symbols {
		switch symbol.Name {
		case "type:*":
			start = symbol.Value
		case "go:string.*":
			end = symbol.Value // the linker puts the strings behind the types
		}
	}
	all, err := m.descriptors()
	if err != nil {
		return fmt.Errorf("its debugging information: %w", err)
	}
	if len(all) == 0 || end < start+all[len(all)-1].offset {
		return errors.New("its types are not where they are expected: this version of Go lays programs out in another way")
	}
	for i, one := range all {
		next := end - start
		if i+1 < len(all) {
			next = all[i+1].offset
		}
		m.bytes[m.moduleOfType(one.name)] += float64(next - one.offset)
	}
	return nil
}

// descriptors are in the order of their offsets.
func (m *measurement) descriptors() ([]descriptor, error) {
	debug, err := m.program.DWARF()
	if err != nil {
		return nil, err
	}
	var all []descriptor
	for reader := debug.Reader(); ; {
		entry, err := reader.Next()
		if err != nil {
			return nil, err
		}
		if entry == nil {
			break
		}
		if entry.Tag == dwarf.TagSubprogram {
			reader.SkipChildren()
		}
		// Those that the linker has left out have none.
		if offset, ok := entry.Val(attrRuntimeType).(uint64); ok && offset > 0 {
			name, _ := entry.Val(dwarf.AttrName).(string)
			all = append(all, descriptor{offset, name})
		}
	}
	slices.SortFunc(all, func(a, b descriptor) int { return cmp.Compare(a.offset, b.offset) })
	return all, nil
}

func (m *measurement) addVariables() {
	for _, symbol := range m.symbols {
		if int(symbol.Section) >= len(m.program.Sections) || strings.HasPrefix(symbol.Name, "runtime.") {
			continue
		}
		switch m.program.Sections[symbol.Section].Name {
		case ".rodata", ".noptrdata", ".data":
			m.bytes[m.module(symbol.Name)] += float64(symbol.Size)
		}
	}
}

// addRest adds what is loaded and belongs to no module.
func (m *measurement) addRest() {
	var rest float64
	for _, section := range m.program.Sections {
		if section.Type == elf.SHT_PROGBITS && section.Flags&elf.SHF_ALLOC != 0 {
			rest += float64(section.FileSize)
		}
	}
	for _, bytes := range m.bytes {
		rest -= bytes
	}
	m.bytes[unattributed] = rest
}

// module returns the module of a symbol, such as k8s.io/api/core/v1.(*Pod).Size.
func (m *measurement) module(symbol string) string {
	for _, generated := range []string{"type:.eq.", "type:.hash.", "go:itab."} {
		if name, ok := strings.CutPrefix(symbol, generated); ok {
			return m.moduleOfType(name)
		}
	}
	symbol, _, _ = strings.Cut(symbol, "[") // type arguments
	slash := strings.LastIndexByte(symbol, '/') + 1
	last, _, _ := strings.Cut(symbol[slash:], ".")
	importPath, err := url.PathUnescape(symbol[:slash] + last)
	if err != nil {
		return standard
	}
	for ; importPath != "."; importPath = path.Dir(importPath) {
		if module, ok := m.modules[importPath]; ok {
			return module
		}
	}
	return standard
}

// moduleOfType returns the module of the first package in the name of a type, such as map[string]*k8s.io/api/core/v1.Pod.
func (m *measurement) moduleOfType(name string) string {
	words := strings.FieldsFunc(name, func(r rune) bool { return strings.ContainsRune("*[](){},; ", r) })
	for _, word := range words {
		word = strings.TrimPrefix(word, "...")
		if strings.Contains(word, ".") && !strings.HasPrefix(word, "go.shape.") && !strings.HasPrefix(word, "noalg.") {
			return m.module(word)
		}
	}
	return standard
}
