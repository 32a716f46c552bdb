/** Damage inside a Parquet file's pages is found where they carry checksums. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parquetLibrary } from "../src/data/deps.ts";
import { parquetRows } from "../src/data/parquet.ts";
import { fixtureUrl, loadFixtureJson } from "./fixtures.ts";

const rows: string[] = loadFixtureJson("texts/rows.json");

for (const version of ["v1", "v2"]) {
  Deno.test(`pages ${version}: one flipped bit anywhere in them is refused`, async () => {
    const whole = await Deno.readFile(
      fileURLToPath(fixtureUrl(`texts/rows-checked-${version}.parquet`)),
    );
    const dir = await Deno.makeTempDir({ prefix: "pollard-pages-" });
    const path = join(dir, "rows.parquet");
    const read = async (bytes: Uint8Array) => {
      await Deno.writeFile(path, bytes);
      return (await Array.fromAsync(parquetRows(path, "text"))).flat();
    };
    try {
      assert.deepEqual(await read(whole), rows);
      const { parquetMetadata } = await parquetLibrary();
      const { row_groups } = parquetMetadata(whole.buffer);
      let refused = 0, sums = 0;
      for (const { columns: [{ meta_data }] } of row_groups) {
        const start = Number(meta_data!.dictionary_page_offset ?? meta_data!.data_page_offset);
        const end = start + Number(meta_data!.total_compressed_size);
        for (let at = start; at < end; at++) {
          const bytes = whole.with(at, whole[at] ^ 1 << at % 8);
          try {
            // A page's header carries no checksum: a bit of it may say what it said before.
            assert.deepEqual(await read(bytes), rows, `byte ${at}`);
          } catch (error) {
            assert.ok(error instanceof TypeError, `byte ${at}: ${error}`);
            refused++;
            if (
              /damaged Parquet file: the page at byte \d+ does not have its checksum; fetch/.test(
                error.message,
              )
            ) sums++;
          }
        }
      }
      assert.ok(sums > 300 && refused > sums, `${sums} of ${refused} by their checksums`);
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  });
}
