/**
 * The checksums that a Parquet file's pages may carry: the package that reads them leaves them out.
 *
 * @module
 */
import { crc32 } from "node:zlib";
import { type AsyncBuffer, type FileMetaData, parquetHeaders } from "./deps.ts";

/** A part of a column that lies in one piece: its pages follow one another. */
interface Chunk {
  /** Rows of the file before it. */
  rowStart: number;
  start: number;
  size: number;
}

/** Checks the pages of a column, as far as they carry checksums, before they are read. */
export class PageChecks {
  readonly #chunks: Chunk[];
  readonly #file: AsyncBuffer;

  constructor(file: AsyncBuffer, { row_groups }: FileMetaData, column: string) {
    this.#file = file;
    let rowStart = 0;
    this.#chunks = row_groups.flatMap(({ columns, num_rows }) => {
      const meta = columns.find((one) => one.meta_data?.path_in_schema.join(".") === column)
        ?.meta_data;
      const first = rowStart;
      rowStart += Number(num_rows);
      if (!meta) return [];
      const start = Number(meta.dictionary_page_offset || meta.data_page_offset);
      return [{ rowStart: first, start, size: Number(meta.total_compressed_size) }];
    });
  }

  /**
   * Checks what lies before a row of the file and was not checked yet.
   *
   * @throws {Error} If the bytes of a page do not have its checksum.
   */
  async upTo(rowEnd: number): Promise<void> {
    while (this.#chunks.length > 0 && this.#chunks[0].rowStart < rowEnd) {
      await checkChunk(this.#file, this.#chunks.shift()!);
    }
  }
}

async function checkChunk(file: AsyncBuffer, { start, size }: Chunk): Promise<void> {
  const { parquetHeader } = await parquetHeaders();
  const bytes = await file.slice(start, start + size);
  const reader = { view: new DataView(bytes), offset: 0 };
  while (reader.offset < size) {
    const at = start + reader.offset;
    const { crc, compressed_page_size } = parquetHeader(reader);
    const end = reader.offset + compressed_page_size;
    if (!(compressed_page_size >= 0) || end > size) throw new Error(`no page begins at byte ${at}`);
    const page = new Uint8Array(bytes, reader.offset, compressed_page_size);
    if (crc !== undefined && crc32(page) !== crc >>> 0) {
      throw new Error(`the page at byte ${at} does not have its checksum`);
    }
    reader.offset = end;
  }
}
