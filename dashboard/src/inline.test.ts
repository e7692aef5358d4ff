import { expect, it } from "vitest";

import { inlined } from "../inline.ts";

const HTML =
  '<html><head><link rel="stylesheet" crossorigin href="./a.css"><link rel="icon" href="data:," />' +
  '<script type="module" crossorigin src="./a.js"></script></head><body><script type="application/json" id="d"></script></body></html>';

it("leaves nothing to be fetched, and nothing that ends a script early", () => {
  const page = inlined({ html: HTML, scripts: ['x="</script>$&"'], styles: ["a{}"] });
  expect(page).toBe(
    '<html><head><link rel="icon" href="data:," /><style>a{}</style>\n</head>' +
      '<body><script type="application/json" id="d"></script><script>x="<\\/script>$&"</script>\n</body></html>',
  );
});
