/**
 * The policy forbids writing markup from text. Mantine writes style sheets that way (text without a tag), so text without
 * `<` passes and everything else is refused: no markup can be made from a string anywhere in the console.
 */
interface Factory {
  createPolicy(name: string, rules: { createHTML: (text: string) => string }): unknown;
}

const factory = (globalThis as { trustedTypes?: Factory }).trustedTypes;
factory?.createPolicy("default", {
  createHTML: (text) => {
    if (text.includes("<")) throw new TypeError("markup from text is refused");
    return text;
  },
});
