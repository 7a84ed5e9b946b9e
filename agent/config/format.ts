// The effective configuration as it would be written in a file.
import { Document, isMap, isScalar, type YAMLMap } from 'yaml';
import { z } from 'zod';
import type { LoadedConfig } from './load.ts';
import { type AgentConfig, agentConfigSchema } from './schema.ts';

/** Plain data, units as text; reading it again gives the same configuration. */
export function configToPlain(config: AgentConfig): z.input<typeof agentConfigSchema> {
  return z.encode(agentConfigSchema, config);
}

/**
 * @param format - YAML has a comment behind each value that says where it comes from
 * @returns text that ends with a newline
 */
export function formatConfig({ config, origins }: LoadedConfig, format: 'yaml' | 'json'): string {
  const plain = configToPlain(config);
  if (format === 'json') return `${JSON.stringify(plain, null, 2)}\n`;
  const document = new Document(plain);
  const annotate = (map: YAMLMap, prefix: string): void => {
    for (const { key, value } of map.items) {
      const path = `${prefix}${String(key)}`;
      if (isMap(value) && value.items.length > 0) {
        annotate(value, `${path}.`);
        continue;
      }
      const origin = origins.get(path);
      const comment = origin === undefined ? ' default' : ` ${origin.file}:${origin.line}`;
      if (isScalar(value)) value.comment = comment;
    }
  };
  if (isMap(document.contents)) annotate(document.contents, '');
  return document.toString({ lineWidth: 0 });
}
